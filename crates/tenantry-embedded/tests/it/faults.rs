use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tenantry_embedded::{Cluster, StopMode};
use tokio::time::{sleep, timeout};

use crate::{connect, is_alive, listen, open_dir, small, text};

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn recovers_after_the_server_was_killed() {
    let dir = open_dir();
    let mut cluster = Cluster::start(small(dir.path())).await.unwrap();
    let url = cluster.superuser_url("postgres");
    let client = connect(&url).await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    for round in 2..5 {
        client.batch_execute("SELECT 1").await.ok();
        let server = cluster.pid().unwrap();
        cluster.kill9();
        timeout(Duration::from_secs(5), cluster.exited()).await.unwrap();
        assert!(!is_alive(server));
        cluster.restart().await.unwrap();
        assert_eq!(cluster.superuser_url("postgres"), url, "the port stays");
        let client = connect(&url).await.unwrap();
        client.batch_execute(&format!("INSERT INTO kept VALUES ({round})")).await.unwrap();
        assert_eq!(text(&client, "SELECT count(*)::text FROM kept").await, round.to_string());
    }
}

#[tokio::test]
async fn sessions_that_outlive_their_server_do_not_hinder_a_restart() {
    let dir = open_dir();
    let mut cluster = Cluster::start(small(dir.path())).await.unwrap();
    let url = cluster.superuser_url("postgres");
    let client = connect(&url).await.unwrap();
    let backend = text(&client, "SELECT pg_backend_pid()::text").await.parse().unwrap();
    // Busy computing, it does not notice that its server is gone.
    let busy = tokio::spawn(async move {
        client.batch_execute("DO $$ DECLARE n bigint := 0; BEGIN LOOP n := n + 1; END LOOP; END $$").await
    });
    sleep(Duration::from_millis(200)).await;
    kill(cluster.pid().unwrap());
    cluster.exited().await;
    assert!(is_alive(backend));
    cluster.restart().await.unwrap();
    assert!(!is_alive(backend));
    assert!(busy.await.unwrap().is_err());
    assert_eq!(text(&connect(&url).await.unwrap(), "SELECT 'here'").await, "here");
}

#[tokio::test]
async fn a_stale_pid_file_with_a_foreign_process_does_not_hinder() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let pid_file = cluster.pgdata().join("postmaster.pid");
    let content = std::fs::read_to_string(&pid_file).unwrap();
    let owner = cluster.account().clone();
    cluster.stop(StopMode::Fast).await.unwrap();

    // A process that PostgreSQL would take for a server: same account, the right pid.
    let mut foreign = std::process::Command::new("sleep");
    foreign.arg("60");
    if owner.is_switched() {
        use std::os::unix::fs::MetadataExt as _;
        use std::os::unix::process::CommandExt as _;
        let meta = std::fs::metadata(pid_file.parent().unwrap()).unwrap();
        foreign.uid(meta.uid()).gid(meta.gid());
    }
    let mut foreign = foreign.spawn().unwrap();
    let (_, rest) = content.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", foreign.id())).unwrap();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    assert!(foreign.try_wait().unwrap().is_none(), "the foreign process was left alone");
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    connect(&cluster.superuser_url("postgres")).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_first_start_leaves_nothing_half_made() {
    let dir = open_dir();
    let mut config = small(dir.path());
    let heard = listen(&mut config);
    for ms in [1, 20, 60, 120, 200, 300, 450] {
        if timeout(Duration::from_millis(ms), Cluster::start(config.clone())).await.is_ok() {
            break;
        }
    }
    let cluster = Cluster::start(config).await.unwrap();
    connect(&cluster.superuser_url("postgres")).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("initdb-") || name.ends_with(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(heard.lock().unwrap().iter().any(|line| line.starts_with("creating a PostgreSQL")));
}

#[tokio::test]
async fn a_server_that_survived_its_owner_is_taken_over() {
    let dir = open_dir();
    let first = Cluster::start(small(dir.path())).await.unwrap();
    let client = connect(&first.superuser_url("postgres")).await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 'yes'::text AS it").await.unwrap();
    // The server of an owner that was killed together with its leash: nobody's child, nobody's lock.
    let survivor = detach(first).await;
    assert!(is_alive(survivor));

    let mut config = small(dir.path());
    let heard = listen(&mut config);
    let second = Cluster::start(config).await.unwrap();
    assert!(!is_alive(survivor));
    assert!(heard.lock().unwrap()[0].starts_with(&format!("stopping the PostgreSQL server `{survivor}`")));
    let client = connect(&second.superuser_url("postgres")).await.unwrap();
    assert_eq!(text(&client, "SELECT it FROM kept").await, "yes");
}

/// Gives the cluster up and starts its server again by hand, as a child of nobody.
async fn detach(mut cluster: Cluster) -> i32 {
    let command = std::fs::read(format!("/proc/{}/cmdline", cluster.pid().unwrap())).unwrap();
    let args: Vec<String> = command
        .split(|byte| *byte == 0)
        .filter(|arg| !arg.is_empty())
        .map(|arg| String::from_utf8(arg.to_vec()).unwrap())
        .collect();
    let title = args.iter().find_map(|arg| arg.strip_prefix("cluster_name=")).unwrap().to_owned();
    let pgdata = cluster.pgdata();
    kill(cluster.pid().unwrap());
    // Until it was collected it is a zombie, which PostgreSQL takes for a running server.
    cluster.exited().await;
    drop(cluster);
    while sessions_of(&title) > 0 {
        sleep(Duration::from_millis(20)).await;
    }
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "\"$@\" >/dev/null 2>&1 </dev/null &", "sh"]).args(&args).current_dir("/");
    if crate::is_root() {
        let meta = std::fs::metadata(&pgdata).unwrap();
        shell.uid(meta.uid()).gid(meta.gid());
    }
    assert!(shell.status().unwrap().success());
    for _ in 0..500 {
        let text = std::fs::read_to_string(pgdata.join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() >= 8 && lines[7].trim() == "ready" && is_alive(lines[0].parse().unwrap()) {
            return lines[0].parse().unwrap();
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the server did not come up");
}

/// How many processes carry the cluster's name in their titles.
fn sessions_of(title: &str) -> usize {
    let prefix = format!("postgres: {title}:");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|c| c.starts_with(prefix.as_bytes())))
        .count()
}
