use std::net::{Ipv4Addr, TcpListener};

use tenantry_embedded::{Cluster, EmbeddedError, StopMode};

use crate::{connect, is_alive, open_dir, small, text};

#[tokio::test]
async fn a_second_start_continues_with_data_port_and_password() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let (url, pid) = (cluster.superuser_url("postgres"), cluster.pid().unwrap());
    let client = connect(&url).await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 'yes'::text AS it").await.unwrap();
    cluster.stop(StopMode::Fast).await.unwrap();
    assert!(!is_alive(pid));

    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    assert_eq!(cluster.superuser_url("postgres"), url);
    let client = connect(&url).await.unwrap();
    assert_eq!(text(&client, "SELECT it FROM kept").await, "yes");
    cluster.stop(StopMode::Fast).await.unwrap();
}

#[tokio::test]
async fn the_cluster_is_made_as_promised() {
    let dir = open_dir();
    let mut config = small(dir.path()).setting("work_mem", "7MB");
    config.durable = true;
    let cluster = Cluster::start(config).await.unwrap();
    let client = connect(&cluster.superuser_url("postgres")).await.unwrap();
    for (sql, expected) in [
        ("SHOW server_encoding", "UTF8"),
        ("SELECT datcollate::text FROM pg_database WHERE datname = 'postgres'", "C"),
        ("SELECT lower('ÄÉ')", "äé"),
        ("SHOW work_mem", "7MB"),
        ("SHOW fsync", "on"),
        ("SHOW listen_addresses", "127.0.0.1"),
        ("SHOW TimeZone", "UTC"),
        ("SHOW data_checksums", "on"),
        ("SELECT DISTINCT auth_method FROM pg_hba_file_rules", "scram-sha-256"),
    ] {
        assert_eq!(text(&client, sql).await, expected, "{sql}");
    }
    let wrong = cluster.superuser_url("postgres").replace("postgres:", "postgres:x");
    assert!(connect(&wrong).await.is_err());
    let socket = cluster.socket_dir().join(format!(".s.PGSQL.{}", cluster.port()));
    assert!(socket.exists());
    assert!(!format!("{cluster:?}").contains(&url_password(&cluster)));
}

fn url_password(cluster: &Cluster) -> String {
    let url = cluster.superuser_url("postgres");
    url.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned()
}

#[tokio::test]
async fn two_on_one_directory_are_refused() {
    let dir = open_dir();
    let first = Cluster::start(small(dir.path())).await.unwrap();
    let error = Cluster::start(small(dir.path())).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, EmbeddedError::InUse { .. }), "{message}");
    assert!(message.contains(&format!("in use by process `{}`", std::process::id())), "{message}");
    assert!(is_alive(first.pid().unwrap()));
    first.stop(StopMode::Immediate).await.unwrap();
    Cluster::start(small(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_dropped_cluster_is_gone() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let client = connect(&cluster.superuser_url("postgres")).await.unwrap();
    let backend = text(&client, "SELECT pg_backend_pid()::text").await.parse().unwrap();
    let server = cluster.pid().unwrap();
    drop(cluster);
    assert!(!is_alive(server) && !is_alive(backend));
}

#[tokio::test]
async fn a_taken_port_is_replaced_unless_it_was_asked_for() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let port = cluster.port();
    cluster.stop(StopMode::Fast).await.unwrap();

    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut asked = small(dir.path());
    asked.port = Some(port);
    let error = Cluster::start(asked).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::PortTaken { port: taken } if taken == port), "{error}");

    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    assert_ne!(cluster.port(), port);
    connect(&cluster.superuser_url("postgres")).await.unwrap();
}

#[tokio::test]
async fn a_bad_setting_is_explained_by_the_log() {
    let dir = open_dir();
    let config = small(dir.path()).setting("shared_buffers", "much");
    let message = Cluster::start(config).await.unwrap_err().to_string();
    assert!(message.contains("`postgres` did not start"), "{message}");
    assert!(message.contains("invalid value for parameter \"shared_buffers\""), "{message}");
    // The next start is none the worse.
    Cluster::start(small(dir.path())).await.unwrap();
}

#[tokio::test]
async fn another_major_version_is_refused() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let (pgdata, major) = (cluster.pgdata(), cluster.version().major);
    let bin = cluster.bin_dir().to_owned();
    cluster.stop(StopMode::Fast).await.unwrap();
    std::fs::write(pgdata.join("PG_VERSION"), "9999\n").unwrap();
    let mut config = small(dir.path());
    config.bin = Some(bin);
    let message = Cluster::start(config).await.unwrap_err().to_string();
    assert!(message.contains(&format!("made by PostgreSQL `9999`, the binaries are of `{major}`")), "{message}");
}

#[tokio::test]
async fn a_lost_password_is_named_not_replaced() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    cluster.stop(StopMode::Fast).await.unwrap();
    std::fs::remove_file(dir.path().join("postgres.password")).unwrap();
    let message = Cluster::start(small(dir.path())).await.unwrap_err().to_string();
    assert!(message.contains("the superuser's password is gone"), "{message}");
}
