//! A server that is killed while it runs schedules: whatever it had sent by then, each due run has made its task once when
//! another has been at it.
//!
//! The points are not marked in the code: a proxy counts the requests on the wire and stops after each of them in turn.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use isolation::backends::{PATIENCE, eventually, sessions_of};
use isolation::proxy::Proxy;
use isolation::through::parts;
use serde_json::json;
use tenantry_core::calendar::Tz;
use tenantry_core::{Clock, ManualClock};
use testkit::{TestDatabase, World, WorldConfig};
use tokio::process::{Child, Command};
use workforce::schedule::CreateSchedule;
use workforce::store::{agents, schedules};
use workforce::{Scheduler, SchedulerSettings, Validate as _};

const SERVER: &str = "ISOLATION_SCHEDULER_SERVER";
const DATABASE: &str = "ISOLATION_SCHEDULER_DATABASE";
const NOW: &str = "ISOLATION_SCHEDULER_NOW";
const SCHEDULES: usize = 3;

fn scheduler(world: &World, now: DateTime<Utc>) -> Scheduler {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    Scheduler::new(world.registry.clone(), world.db.clone(), clock, SchedulerSettings::default())
}

async fn world(database: TestDatabase) -> World {
    World::on(database, WorldConfig::new(workforce::tenant_schema())).await
}

/// Nothing by itself; as a child it runs what is due, once it is told to begin, and says so.
#[tokio::test]
async fn runs_what_is_due_when_told_to() {
    let Ok(database) = std::env::var(DATABASE) else { return };
    let world = world(TestDatabase::existing(&std::env::var(SERVER).unwrap(), &database)).await;
    let scheduler = scheduler(&world, std::env::var(NOW).unwrap().parse().unwrap());
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    match scheduler.tick().await {
        Ok(tally) => println!("outcome: ran {} put off {}", tally.ran, tally.put_off),
        Err(error) => println!("outcome: {error}"),
    }
}

struct Runner {
    child: Child,
    output: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl Runner {
    /// Starts the child and waits until it has connected what it needs before it runs anything.
    async fn start(database: &TestDatabase, now: DateTime<Utc>) -> Self {
        use tokio::io::AsyncBufReadExt as _;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "schedules::runs_what_is_due_when_told_to", "--nocapture"])
            .env(SERVER, database.server())
            .env(DATABASE, &database.name)
            .env(NOW, now.to_rfc3339())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut runner = Self { child, output };
        runner.says("ready").await;
        runner
    }

    async fn says(&mut self, begin: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("the child ended without `{begin}`"));
            if let Some(at) = line.find(begin) {
                return line[at..].to_owned();
            }
        }
    }

    async fn begin(&mut self) {
        use tokio::io::AsyncWriteExt as _;
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    }
}

/// Makes due schedules and gives when they were.
async fn make_schedules(world: &World, now: DateTime<Utc>) {
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    let agent =
        serde_json::from_value::<workforce::agent::CreateAgent>(json!({ "name": "Mira", "role": "r" })).unwrap();
    let agent = agents::create(&mut tx, &agent.validated().unwrap()).await.unwrap();
    for n in 0..SCHEDULES {
        let new = json!({
            "agent_id": agent.id, "name": format!("s{n}"), "cron_expression": "* * * * *",
            "task_template": { "title": format!("t{n}") },
        });
        let new = serde_json::from_value::<CreateSchedule>(new).unwrap().validated().unwrap();
        schedules::create(&mut tx, &new, Tz::UTC, now).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_server_killed_at_any_point_leaves_each_run_to_be_done_once() {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    world.tenant("acme").await;
    let admin = world.admin().await;
    let (host, port, ..) = parts(world.database.server());
    let proxy = Proxy::start(&host, port).await;
    let through = world.database.by_way_of(proxy.port());
    // Early in a minute, so that nothing else is due when a lease has ended.
    let mut now: DateTime<Utc> = "2026-01-01T00:00:05Z".parse().unwrap();
    make_schedules(&world, now).await;
    // From here on, the sessions of the cell are the child's.
    world.db.close();
    let (mut rounds, mut undone, mut done) = (0, 0, 0);
    for requests in 0.. {
        rounds += 1;
        now += TimeDelta::minutes(1);
        let mut runner = Runner::start(&through, now).await;
        proxy.hold_after(requests);
        runner.begin().await;
        let finished = tokio::select! {
            () = proxy.held() => false,
            outcome = runner.says("outcome: ") => {
                assert_eq!(outcome, format!("outcome: ran {SCHEDULES} put off 0"));
                true
            }
        };
        if finished {
            proxy.release();
            break;
        }
        // The request that was let through may still be at work on the server.
        eventually("no session is at work", async || working(&admin).await == 0).await;
        runner.child.kill().await.unwrap();
        proxy.release();
        eventually("the killed server's sessions end", async || sessions_of(&admin, "tenantry\\_cell\\_%").await == 0)
            .await;
        let before = tasks(&admin).await;
        assert!(
            before == (rounds - 1) * SCHEDULES || before == rounds * SCHEDULES,
            "all of a round or nothing: {before}"
        );
        if before == rounds * SCHEDULES {
            done += 1
        } else {
            undone += 1
        }
        // Another server, when the lease is over. It looks again and again, and passes over what the killed one still holds:
        // the database may take a moment to notice that nobody waits for an answer.
        let another = scheduler(&world, now + TimeDelta::seconds(31));
        eventually("another server does what was left", async || {
            assert_eq!(another.tick().await.unwrap().put_off, 0);
            tasks(&admin).await >= rounds * SCHEDULES
        })
        .await;
        assert_eq!(tasks(&admin).await, rounds * SCHEDULES, "killed after {requests} requests");
        world.db.close();
    }
    println!("{rounds} points: {undone} before it was done, {done} after");
    assert!(undone >= 5 && done >= 1, "it was killed before, in the middle and after");
    let counts =
        "SELECT count(*) FROM (SELECT title FROM tenant_acme.tasks GROUP BY title HAVING count(*) <> $1) uneven";
    let uneven: i64 = admin.query_one(counts, &[&i64::try_from(rounds).unwrap()]).await.unwrap().get(0);
    assert_eq!(uneven, 0, "each schedule ran once in each round");
}

async fn tasks(admin: &tokio_postgres::Client) -> usize {
    let count: i64 = admin.query_one("SELECT count(*) FROM tenant_acme.tasks", &[]).await.unwrap().get(0);
    usize::try_from(count).unwrap()
}

/// Sessions of the cell that run a statement; one that waits for its client's next is none.
async fn working(admin: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND usename LIKE 'tenantry\\_cell\\_%' AND state = 'active'";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

/// The control: without the lock on the rows, two servers would both find a schedule due.
#[tokio::test]
async fn without_the_rows_lock_a_run_would_be_done_twice() {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    world.tenant("acme").await;
    let now: DateTime<Utc> = "2026-01-01T00:00:30Z".parse().unwrap();
    make_schedules(&world, now).await;
    let later = now + TimeDelta::minutes(1);
    let admin = world.admin().await;
    // What a server sees that only reads what is due, while another is in the middle of it.
    let due = "SELECT id FROM tenant_acme.schedules WHERE enabled AND next_run_at <= $1";
    let seen = admin.query(due, &[&later]).await.unwrap().len();
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    let first = schedules::run_due(&mut tx, later, 10, &std::collections::HashMap::new()).await.unwrap();
    assert_eq!((seen, first.ran), (SCHEDULES, SCHEDULES));
    assert_eq!(admin.query(due, &[&later]).await.unwrap().len(), SCHEDULES, "without a lock they are due still");
    // Another server does not even look: the alarm is held.
    assert_eq!(scheduler(&world, later).tick().await.unwrap().companies, 0);
    // One that does look waits at the rows, and finds nothing.
    let mut other = world.db.begin(&context).await.unwrap();
    let second = tokio::spawn(async move {
        let done = schedules::run_due(&mut other, later, 10, &std::collections::HashMap::new()).await.unwrap();
        other.commit().await.unwrap();
        done
    });
    eventually("the second server waits for the first", async || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    tx.commit().await.unwrap();
    let second = tokio::time::timeout(Duration::from_secs(20), second).await.unwrap().unwrap();
    assert_eq!(second, schedules::Done::default());
    assert_eq!(tasks(&admin).await, SCHEDULES);
}

/// What a tenant sees and changes of the alarms, with SQL of its own.
async fn reach_of_acme(world: &World) -> (i64, i64) {
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    let seen = tx.raw("SELECT count(*) FROM tenantry.alarms", &[]).await.unwrap()[0].get(0);
    let delay = "WITH changed AS (UPDATE tenantry.alarms SET due_at = due_at + interval '1 year' RETURNING 1) \
                 SELECT count(*) FROM changed";
    let changed = tx.raw(delay, &[]).await.unwrap()[0].get(0);
    tx.rollback().await.unwrap();
    (seen, changed)
}

#[tokio::test]
async fn alarms_are_the_tenants_own() {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    let now: DateTime<Utc> = "2026-01-01T00:00:30Z".parse().unwrap();
    let globex = world.tenant("globex").await;
    for slug in ["acme", "globex"] {
        if slug == "acme" {
            world.tenant(slug).await;
        }
        let context = world.context(slug).await;
        let mut tx = world.db.begin(&context).await.unwrap();
        tx.set_alarm(schedules::ALARM, now).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(reach_of_acme(&world).await, (1, 1));
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    let foreign = format!(
        "INSERT INTO tenantry.alarms (tenant_id, kind, due_at) VALUES ('{}', 'other', now())",
        globex.tenant.id
    );
    let refused = tx.raw(&foreign, &[]).await.unwrap_err();
    assert_eq!(refused.sqlstate(), Some("42501"), "{refused}");
    tx.rollback().await.unwrap();
    // The control: without row level security the other tenant's are there.
    world.admin().await.batch_execute("ALTER TABLE tenantry.alarms DISABLE ROW LEVEL SECURITY").await.unwrap();
    assert_eq!(reach_of_acme(&world).await, (2, 2));
}
