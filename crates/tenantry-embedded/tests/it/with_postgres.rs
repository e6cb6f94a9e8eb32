use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{is_alive, open_dir};

fn with_postgres(temp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    // Its temporary files go where only this test looks.
    command.env("TMPDIR", temp);
    command
}

fn left_in(dir: &TempDir) -> Vec<PathBuf> {
    std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts it with a command that waits; returns it together with the pid of its server.
fn waiting(temp: &TempDir) -> (Child, i32) {
    let child = with_postgres(temp.path()).args(["--", "sleep", "60"]).stderr(Stdio::null()).spawn().unwrap();
    let pid_of_ready = || {
        let dir = left_in(temp).into_iter().find(|path| path.join("postgres").is_dir())?;
        let text = std::fs::read_to_string(dir.join("postgres/postmaster.pid")).ok()?;
        text.lines().nth(7)?.starts_with("ready").then(|| text.lines().next()?.parse().ok())?
    };
    until("no server", || pid_of_ready().is_some());
    // The command is its child: wait for that one, too.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    until("no command", || {
        let list = std::fs::read_to_string(&children).unwrap_or_default();
        list.split_whitespace().any(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text.starts_with("sleep"))
        })
    });
    (child, pid_of_ready().unwrap())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

fn run(temp: &TempDir, args: &[&str]) -> Output {
    with_postgres(temp.path()).args(args).output().unwrap()
}

#[test]
fn the_command_gets_a_server_and_we_its_exit_code() {
    let temp = open_dir();
    let script = r#"echo "$TENANTRY_TEST_DATABASE_URL"; test -x "$TENANTRY_TEST_PG_BIN/postgres" && exit 7"#;
    let output = run(&temp, &["--set", "work_mem=8MB", "--", "sh", "-c", script]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with("postgres://postgres:") && stdout.contains("@127.0.0.1:"), "{stdout}");
    assert_eq!(left_in(&temp), Vec::<PathBuf>::new());
    assert_eq!(run(&temp, &["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
}

#[test]
fn a_missing_command_is_an_error_and_leaves_nothing() {
    let temp = open_dir();
    let output = run(&temp, &["--", "no-such-command"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot run `no-such-command`"), "{stderr}");
    assert_eq!(left_in(&temp), Vec::<PathBuf>::new());
}

#[test]
fn a_pooler_on_request() {
    if !tenantry_embedded::PgBouncer::is_installed() {
        return;
    }
    let temp = open_dir();
    let output = run(&temp, &["--pgbouncer", "--", "sh", "-c", "echo $TENANTRY_TEST_PGBOUNCER_URL"]);
    assert!(output.stdout.starts_with(b"postgres://postgres:"));
    assert_eq!(left_in(&temp), Vec::<PathBuf>::new());
}

#[test]
fn signals_end_everything() {
    for (number, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let temp = open_dir();
        let (mut child, server) = waiting(&temp);
        signal(&child, number);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(!is_alive(server));
        assert_eq!(left_in(&temp), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_second_interrupt_does_not_wait() {
    let temp = open_dir();
    let (mut child, server) = waiting(&temp);
    let start = Instant::now();
    signal(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(!is_alive(server));
    assert_eq!(left_in(&temp), Vec::<PathBuf>::new());
}

#[test]
fn killed_it_takes_its_server_along_and_the_next_one_cleans_up() {
    let temp = open_dir();
    let (mut child, server) = waiting(&temp);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    until("the server outlived its owner", || !is_alive(server));

    let left = left_in(&temp);
    assert_eq!(left.len(), 1, "{left:?}");
    // Young directories may be somebody's who has not locked them yet.
    run(&temp, &["--", "true"]);
    assert_eq!(left_in(&temp), left);
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::open(&left[0]).unwrap().set_modified(hour_ago).unwrap();
    let output = run(&temp, &["--", "true"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("which an interrupted run left"));
    assert_eq!(left_in(&temp), Vec::<PathBuf>::new());
}
