use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tenantry_embedded::{Cluster, StopMode};

use crate::{connect, is_root, listen, open_dir, small, text};

#[tokio::test]
async fn odd_and_long_paths_work() {
    let dir = open_dir();
    for name in ["with spaces, and \"quotes\"", "it's %41 ünïcode", &"long".repeat(40)] {
        let path = dir.path().join(name).join("data");
        let cluster = Cluster::start(small(&path)).await.unwrap();
        connect(&cluster.superuser_url("postgres")).await.unwrap();
        let socket = cluster.socket_dir().join(format!(".s.PGSQL.{}", cluster.port()));
        assert!(socket.exists(), "{}", socket.display());
        cluster.stop(StopMode::Immediate).await.unwrap();
    }
}

#[tokio::test]
async fn a_relative_path_and_a_link_are_the_same_place() {
    let dir = open_dir();
    let real = dir.path().join("real");
    let link = dir.path().join("link");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let cluster = Cluster::start(small(&link)).await.unwrap();
    assert_eq!(cluster.pgdata(), fs::canonicalize(&real).unwrap().join("postgres"));
    assert!(Cluster::start(small(&real)).await.is_err());
}

#[tokio::test]
async fn secrets_are_closed_to_others() {
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("postgres.password")), 0o600);
    assert_eq!(mode(&cluster.log()), 0o600);
    assert_eq!(mode(&cluster.pgdata()), 0o700);
    assert_eq!(mode(cluster.socket_dir()), 0o700);
}

#[tokio::test]
async fn root_hands_the_server_to_an_account_without_privileges() {
    if !is_root() {
        return;
    }
    let dir = open_dir();
    let cluster = Cluster::start(small(dir.path())).await.unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.pid().unwrap())).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(!line("Uid:").split_whitespace().any(|id| id == "0"), "{status}");
    assert!(!line("Gid:").split_whitespace().any(|id| id == "0"), "{status}");
    assert_eq!(line("Groups:").split_whitespace().count(), 1, "no supplementary groups: {status}");
    assert_ne!(fs::metadata(cluster.pgdata()).unwrap().uid(), 0);
    // The password is root's: the server's account does not need it.
    assert_eq!(fs::metadata(dir.path().join("postgres.password")).unwrap().uid(), 0);
}

#[tokio::test]
async fn a_directory_closed_to_the_account_gets_its_cluster_elsewhere() {
    if !is_root() {
        return;
    }
    // As a clone below `/root` is.
    let closed = open_dir();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let data_dir = closed.path().join(".tenantry");
    let mut config = small(&data_dir);
    let heard = listen(&mut config);

    let cluster = Cluster::start(config.clone()).await.unwrap();
    let pgdata = cluster.pgdata();
    let home = pgdata.parent().unwrap().to_owned();
    assert!(home.starts_with("/var/lib/tenantry"), "{}", home.display());
    let note = fs::read_to_string(data_dir.join("postgres-location")).unwrap();
    assert_eq!(note.lines().next().unwrap(), home.to_str().unwrap());
    assert!(heard.lock().unwrap()[0].contains("the cluster goes to"), "{heard:?}");
    let client = connect(&cluster.superuser_url("postgres")).await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 'yes'::text AS it").await.unwrap();
    assert!(Cluster::start(config.clone()).await.is_err(), "the lock counts here, too");
    cluster.stop(StopMode::Fast).await.unwrap();

    let cluster = Cluster::start(config.clone()).await.unwrap();
    assert_eq!(cluster.pgdata(), pgdata);
    let client = connect(&cluster.superuser_url("postgres")).await.unwrap();
    assert_eq!(text(&client, "SELECT it FROM kept").await, "yes");
    cluster.stop(StopMode::Fast).await.unwrap();

    // A directory that was removed and made anew does not meet the old data.
    fs::remove_dir_all(&data_dir).unwrap();
    let anew = Cluster::start(config).await.unwrap();
    assert_ne!(anew.pgdata(), pgdata);
    let second = anew.pgdata().parent().unwrap().to_owned();
    anew.stop(StopMode::Immediate).await.unwrap();
    for home in [home, second] {
        fs::remove_dir_all(home).unwrap();
    }
}
