use tenantry_embedded::{Cluster, PgBouncer, PgBouncerConfig};

use crate::{connect, is_alive, open_dir, small, text};

#[tokio::test]
async fn a_pooler_in_transaction_mode_lets_its_users_through() {
    if !PgBouncer::is_installed() {
        return;
    }
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let admin = connect(&cluster.superuser_url("postgres")).await.unwrap();
    admin.batch_execute("CREATE ROLE app LOGIN PASSWORD 'it''s \"quoted\"'").await.unwrap();
    admin.batch_execute("CREATE DATABASE other").await.unwrap();

    let mut config = PgBouncerConfig::in_front_of(&cluster).user("app", "it's \"quoted\"");
    config.default_pool_size = 1;
    let pooler = PgBouncer::start(config).await.unwrap();
    let url = pooler.url_for("app", "other").unwrap();
    let one = connect(&url).await.unwrap();
    let two = connect(&url).await.unwrap();
    let pid = |client| async move { simple(client, "SELECT pg_backend_pid()").await };
    assert_eq!(pid(&one).await, pid(&two).await, "two clients share a session");
    assert_eq!(simple(&one, "SELECT current_database()").await, "other");
    assert!(connect(&url.replace("app:", "app:x")).await.is_err());
    assert_eq!(pooler.url_for("nobody", "other"), None);

    let process = pooler.pid();
    pooler.stop().await;
    assert!(!is_alive(process));
    assert_eq!(text(&admin, "SELECT 'here'").await, "here");
}

#[tokio::test]
async fn users_are_replaced_while_it_runs() {
    if !PgBouncer::is_installed() {
        return;
    }
    let dir = open_dir();
    // The pooler keeps a server connection for each user.
    let cluster = Cluster::start(small(dir.path()).setting("max_connections", "40")).await.unwrap();
    let admin = connect(&cluster.superuser_url("postgres")).await.unwrap();
    let mut pooler = PgBouncer::start(PgBouncerConfig::in_front_of(&cluster)).await.unwrap();
    let mut users: Vec<(String, String)> = Vec::new();
    for n in 0..20 {
        let name = format!("late_{n}");
        admin.batch_execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'secret'")).await.unwrap();
        users.push((name.clone(), "secret".into()));
        pooler.reload_users(users.clone()).await.unwrap();
        let client = connect(&pooler.url_for(&name, "postgres").unwrap()).await.unwrap();
        assert_eq!(simple(&client, "SELECT current_user").await, name);
    }
}

#[tokio::test]
async fn it_finds_a_restarted_server_again() {
    if !PgBouncer::is_installed() {
        return;
    }
    let dir = open_dir();
    let mut cluster = Cluster::start(small(dir.path())).await.unwrap();
    let pooler = PgBouncer::start(PgBouncerConfig::in_front_of(&cluster)).await.unwrap();
    let url = pooler.url_for("postgres", "postgres").unwrap();
    assert_eq!(simple(&connect(&url).await.unwrap(), "SELECT 1").await, "1");
    cluster.kill9();
    cluster.restart().await.unwrap();
    let mut tries = 0;
    loop {
        if let Ok(client) = connect(&url).await
            && client.simple_query("SELECT 1").await.is_ok()
        {
            break;
        }
        tries += 1;
        assert!(tries < 100, "{}", pooler.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// One text by the simple protocol: a named statement would not survive the pooler.
async fn simple(client: &tokio_postgres::Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    messages
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .unwrap()
}
