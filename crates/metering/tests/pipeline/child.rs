//! Another process that records calls: this test binary again, told by its environment what to do.

#![expect(clippy::print_stdout, reason = "it tells its parent")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use metering::ship::Shipping;
use metering::spool::SpoolError;
use metering::{Call, Metering, Source};
use tenantry_core::SystemClock;
use testkit::TestDatabase;
use uuid::Uuid;

use super::stage::{Stage, call, empty, settings, unsettled, until};

const TASK: &str = "METERING_CHILD_TASK";
const SERVER: &str = "METERING_CHILD_SERVER";
const DATABASE: &str = "METERING_CHILD_DATABASE";
const DIRECTORY: &str = "METERING_CHILD_DIRECTORY";

/// A process and what it says.
pub(crate) struct Recorder {
    child: Child,
    lines: Receiver<String>,
    pub(crate) said: Vec<String>,
}

impl Recorder {
    pub(crate) fn start(task: &str, stage: &Stage, environment: &[(String, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::does_what_it_is_told", "--nocapture"])
            .env(TASK, task)
            .env(SERVER, stage.database.server())
            .env(DATABASE, &stage.database.name)
            .env(DIRECTORY, stage.spools())
            .envs(environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines, said: Vec::new() }
    }

    /// Reads until it says something that begins like this.
    pub(crate) fn hear(&mut self, word: &str) {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) {
            self.said.push(line);
            if self.said.last().unwrap().starts_with(word) {
                return;
            }
        }
        panic!("it never said `{word}`; its last words: {:?}", self.said.last());
    }

    /// Ends it where it is, and reads what it said before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.extend(self.lines.iter());
        std::mem::take(&mut self.said)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What processes said, by call.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) begun: HashSet<Uuid>,
    pub(crate) intended: HashSet<Uuid>,
    pub(crate) settled: HashSet<Uuid>,
    pub(crate) refused: HashSet<Uuid>,
}

impl Said {
    pub(crate) fn add(&mut self, lines: &[String]) {
        for line in lines {
            let Some((word, id)) = line.split_once(' ') else { continue };
            let Ok(id) = id.parse() else { continue };
            match word {
                "begun" => self.begun.insert(id),
                "intended" => self.intended.insert(id),
                "settled" => self.settled.insert(id),
                "refused" => self.refused.insert(id),
                _ => false,
            };
        }
    }

    /// Nothing that was acknowledged is missing, nothing is there twice, and nothing that nobody recorded is there.
    pub(crate) async fn compare(&self, stage: &Stage) {
        let sql = "SELECT id, usage_source, count(*) FROM analytics.provider_api_calls GROUP BY 1, 2";
        let mut found: HashMap<Uuid, Vec<String>> = HashMap::new();
        for row in stage.admin.query(sql, &[]).await.unwrap() {
            assert_eq!(row.get::<_, i64>(2), 1, "{:?} is booked twice", row.get::<_, Uuid>(0));
            found.entry(row.get(0)).or_default().push(row.get(1));
        }
        for (id, how) in &found {
            assert!(self.begun.contains(id), "{id} was never recorded");
            assert!(!self.refused.contains(id), "{id} was refused, and is booked");
            assert_eq!(how.len(), 1, "{id} is booked as {how:?}");
        }
        for id in &self.intended {
            assert!(found.contains_key(id), "{id} was intended, and is lost");
        }
        for id in &self.settled {
            assert_eq!(found.get(id).map(|how| how[0].as_str()), Some("reported"), "{id} was settled");
        }
        stage.agree().await;
    }
}

/// Nothing by itself; as a child it records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_what_it_is_told() {
    let Ok(task) = std::env::var(TASK) else { return };
    let told = |name: &str| std::env::var(name).unwrap();
    let database = TestDatabase::existing(&told(SERVER), &told(DATABASE));
    let settings = settings(Path::new(&told(DIRECTORY)));
    let metering = Metering::start(&database.config, &settings, Arc::new(SystemClock)).unwrap();
    println!("ready");
    match task.as_str() {
        "disk" => fill(&metering).await,
        "broken" => persist(&metering).await,
        "drain" => {
            let _shipping = Shipping::start(&metering, &settings).unwrap();
            until(&metering, |state| state.records == 0 && state.shipped > 0).await;
            println!("shipped");
            empty(&metering).await;
            println!("drained");
            std::future::pending::<()>().await;
        }
        _ => {
            let _shipping = (task == "ship").then(|| Shipping::start(&metering, &settings).unwrap());
            record(&metering).await;
        }
    }
}

/// Records until it is killed, in all the ways there are.
async fn record(metering: &Metering) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6 {
        let metering = metering.clone();
        tasks.spawn(async move {
            loop {
                if n == 0 {
                    let calls: Vec<Call> = (0..3).map(|_| Call { source: Source::Api, ..call(n, "0.001") }).collect();
                    calls.iter().for_each(|call| println!("begun {}", call.id));
                    metering.spool.record(&calls).await.unwrap();
                    calls.iter().for_each(|call| println!("settled {}", call.id));
                } else {
                    one(&metering, &call(n, "0.001")).await.unwrap();
                }
            }
        });
    }
    tasks.join_next().await;
}

async fn one(metering: &Metering, call: &Call) -> Result<(), SpoolError> {
    println!("begun {}", call.id);
    metering.spool.intend(&unsettled(call, "0.01")).await?;
    println!("intended {}", call.id);
    metering.spool.settle(call).await?;
    println!("settled {}", call.id);
    Ok(())
}

/// Records until it is killed, whatever the disk says: calls that are refused are not made, those that are made are ended.
async fn persist(metering: &Metering) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let metering = metering.clone();
        tasks.spawn(async move {
            loop {
                let call = call(n, "0.001");
                println!("begun {}", call.id);
                if metering.spool.intend(&unsettled(&call, "0.01")).await.is_err() {
                    println!("refused {}", call.id);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
                println!("intended {}", call.id);
                while metering.spool.settle(&call).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                println!("settled {}", call.id);
            }
        });
    }
    tasks.join_next().await;
}

/// Records until the disk is full, and goes on when it no longer is.
async fn fill(metering: &Metering) {
    let held: Vec<Call> = (0..20).map(|n| call(n, "0.001")).collect();
    for call in &held {
        println!("begun {}", call.id);
        metering.spool.intend(&unsettled(call, "0.01")).await.unwrap();
        println!("intended {}", call.id);
    }
    println!("holding");
    loop {
        match one(metering, &call(1, "0.001")).await {
            Ok(()) => {}
            Err(SpoolError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    // What was let through can be ended.
    for call in &held {
        metering.spool.settle(call).await.unwrap();
        println!("settled {}", call.id);
    }
    println!("full {}", metering.health().full);
    while let Err(error) = one(metering, &call(2, "0.001")).await {
        assert!(matches!(error, SpoolError::Full), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("again {}", metering.health().full);
    std::future::pending::<()>().await;
}
