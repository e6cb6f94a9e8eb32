//! `tenantry dev`: from an empty directory, and after everything that can end it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Ran, tenantry};

/// A running `tenantry dev`.
struct Dev {
    child: Child,
    base: String,
    acme: String,
    globex: String,
    tour: String,
    http: Client,
}

impl Dev {
    fn start(directory: &Path) -> Self {
        let mut command = tenantry(directory);
        command.args(["dev", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            let _ = stderr.read_to_string(&mut log);
            log
        });
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("limit=1") {
            let before = printed.len();
            out.read_line(&mut printed).unwrap();
            if printed.len() == before {
                panic!("it ended: {printed}\n{}", log.join().unwrap());
            }
        }
        let value = |name: &str| {
            let line = printed.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        Self {
            child,
            base: value("base URL"),
            acme: value("key of acme"),
            globex: value("key of globex"),
            tour: printed.split_once("  BASE=").unwrap().1.to_owned(),
            http: Client::new(),
        }
    }

    async fn agents(&self, key: &str) -> Option<usize> {
        let request = self.http.get(format!("{}/v1/agents?limit=200", self.base)).header("x-api-key", key);
        let answer = request.send().await.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        Some(answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().len())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pid of the private PostgreSQL.
fn postmaster(directory: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(directory.join(".tenantry/postgres/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

fn open_directory() -> TempDir {
    // The server's account, where it is another one, must be able to pass through.
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_from_nothing_and_outlives_every_kill() {
    let directory = open_directory();
    let directory = directory.path();

    let mut dev = Dev::start(directory);
    assert!(dev.agents(&dev.acme).await.unwrap() > 0 && dev.agents(&dev.globex).await.unwrap() > 0);
    let listed = Ran::of(&tenantry(directory).args(["-o", "json", "tenant", "list"]).output().unwrap()).ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "other commands find the database by themselves");

    // The tour, as it stands there.
    let before = dev.agents(&dev.acme).await.unwrap();
    let tour = Command::new("bash").args(["-c", &format!("BASE={}", dev.tour)]).output().unwrap();
    let answers = String::from_utf8(tour.stdout).unwrap();
    assert_eq!(dev.agents(&dev.acme).await, Some(before + 1), "{answers}");
    let expected = [
        "Tour guide",
        "Show a visitor around",
        r#""price_version":"openai/gpt-5-mini@"#,
        "no_forecast_because",
        "agent_not_found",
        "tenant_mismatch",
        "tenant_inactive",
    ];
    for expected in expected {
        assert!(answers.contains(expected), "{expected}: {answers}");
    }
    assert!(dev.agents(&dev.globex).await.is_some(), "globex is served again at the end of the tour");
    // What it has made is as it should be, also when calls were booked and partitions kept.
    let well = Ran::of(&tenantry(directory).args(["doctor", "--quiet"]).output().unwrap()).ok();
    assert_eq!(well.stdout.trim(), "");
    Ran::of(&tenantry(directory).args(["migrate", "drift"]).output().unwrap()).ok();

    // The database dies; the running server brings it back.
    kill_process(postmaster(directory).unwrap(), Signal::KILL).unwrap();
    while dev.agents(&dev.acme).await != Some(before + 1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // The server dies; the next start takes over, with the same keys and data.
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    let keys = (dev.acme.clone(), dev.globex.clone());
    drop(dev);
    let mut dev = Dev::start(directory);
    assert_eq!((dev.acme.clone(), dev.globex.clone()), keys);
    assert_eq!(dev.agents(&dev.acme).await, Some(before + 1));
    let second = Ran::of(&tenantry(directory).args(["dev", "--listen", "127.0.0.1:0"]).output().unwrap());
    second.fails(1, "is in use by process");

    // Ctrl-C ends both in good order.
    dev.signal(Signal::INT);
    assert_eq!(dev.child.wait().unwrap().code(), Some(0));
    assert!(postmaster(directory).is_none(), "PostgreSQL has stopped, too");
    let ran = Ran::of(&tenantry(directory).args(["tenant", "list"]).output().unwrap());
    ran.fails(6, "does the server run");
}
