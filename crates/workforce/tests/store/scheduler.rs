//! Due schedules, run by several servers on one database.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenantry_core::{Clock, ManualClock};
use tenantry_postgres::{Actor, TenantContext};
use testkit::{World, WorldConfig};
use workforce::agent::Agent;
use workforce::schedule::Schedule;
use workforce::store::{agents, schedules};
use workforce::{Scheduler, SchedulerSettings, Tally};

use crate::schedules::{new, utc};
use crate::{Company, body};

const START: &str = "2026-03-27T12:00:30Z";

/// A company, and a clock that says what time it is for all servers.
struct Stage {
    company: Company,
    clock: Arc<ManualClock>,
}

impl Stage {
    async fn start() -> Self {
        Self { company: Company::start().await, clock: Arc::new(ManualClock::new(utc(START))) }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn scheduler_of(&self, world: &World) -> Scheduler {
        let settings = SchedulerSettings { max_failures: 4, ..SchedulerSettings::default() };
        Scheduler::new(world.registry.clone(), world.db.clone(), Arc::clone(&self.clock) as Arc<dyn Clock>, settings)
    }

    fn scheduler(&self) -> Scheduler {
        self.scheduler_of(&self.company.world)
    }

    /// A further server on the same database.
    async fn server(&self) -> Scheduler {
        let world = World::on(self.company.world.database.clone(), WorldConfig::new(workforce::tenant_schema())).await;
        self.scheduler_of(&world)
    }

    async fn tick(&self) -> Tally {
        self.scheduler().tick().await.unwrap()
    }

    async fn schedule(&self, agent: &Agent, members: Value) -> Schedule {
        self.company.schedule(agent, members, self.now()).await
    }

    async fn titles(&self) -> Vec<String> {
        let sql = format!("SELECT title FROM {}.tasks ORDER BY created_at, title", schema(&self.company.context));
        self.company.world.admin().await.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn published(&self, kind: &str) -> Vec<Value> {
        let sql = format!("SELECT data FROM {}.events WHERE kind = $1 ORDER BY id", schema(&self.company.context));
        self.company.world.admin().await.query(&sql, &[&kind]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

fn schema(context: &TenantContext) -> String {
    context.tenant().schema.quoted()
}

fn ran(companies: usize, ran: usize) -> Tally {
    Tally { companies, ran, ..Tally::default() }
}

#[tokio::test]
async fn a_due_schedule_makes_its_task_and_waits_for_the_next_time() {
    let stage = Stage::start().await;
    let agent = stage.company.agent("Mira").await;
    let template = json!({ "title": "Hourly", "deadline_seconds": 60 });
    let hourly = stage.schedule(&agent, json!({ "cron_expression": "@hourly", "task_template": template })).await;
    assert_eq!(stage.tick().await, Tally::default(), "nothing is due");
    stage.clock.advance(TimeDelta::hours(1));
    assert_eq!(stage.tick().await, ran(1, 1));
    assert_eq!(stage.tick().await, Tally::default(), "once");
    assert_eq!(stage.titles().await, ["Hourly"]);
    let after = stage.company.find_schedule(hourly.id).await;
    assert_eq!((after.last_run_at, after.next_run_at), (Some(stage.now()), Some(utc("2026-03-27T14:00:00Z"))));
    assert_eq!((after.version, after.failure_count), (2, 0));
    assert_eq!(stage.company.alarm().await, after.next_run_at);
    let run = &stage.published("schedule.run").await[0];
    assert_eq!((&run["due_at"], &run["task_id"]), (&json!("2026-03-27T13:00:00Z"), &json!(after.last_task_id)));
    assert_eq!(
        stage.published("task.created").await[0]["deadline"],
        "2026-03-27T13:01:00Z",
        "counted from when it was due"
    );
    let audited = stage.company.audited().await;
    assert!(audited.ends_with(&["task.create".to_owned(), "schedule.run".to_owned()]), "{audited:?}");
    let sql = "SELECT actor_kind, actor FROM audit.events WHERE action = 'schedule.run'";
    let row = stage.company.world.admin().await.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("system", "due schedules"));
}

#[tokio::test]
async fn missed_runs_are_made_up_for_by_one() {
    let stage = Stage::start().await;
    let agent = stage.company.agent("Mira").await;
    stage.schedule(&agent, json!({ "cron_expression": "*/5 * * * *" })).await;
    stage.clock.advance(TimeDelta::days(3));
    assert_eq!(stage.tick().await, ran(1, 1));
    stage.clock.advance(TimeDelta::minutes(5));
    assert_eq!(stage.tick().await, ran(1, 1));
    assert_eq!(stage.titles().await.len(), 2);
}

#[tokio::test]
async fn what_is_off_or_deleted_does_not_run() {
    let stage = Stage::start().await;
    let agent = stage.company.agent("Mira").await;
    let off = stage.schedule(&agent, json!({ "cron_expression": "@hourly" })).await;
    let gone = stage.schedule(&agent, json!({ "cron_expression": "@hourly" })).await;
    stage.company.change_schedule(&off, json!({ "enabled": false }), stage.now()).await.unwrap();
    let mut tx = stage.company.begin().await;
    schedules::delete(&mut tx, gone.id, None).await.unwrap();
    tx.commit().await.unwrap();
    stage.clock.advance(TimeDelta::hours(2));
    assert_eq!(stage.tick().await, ran(1, 0), "the alarm rings in vain");
    assert_eq!(stage.company.alarm().await, None, "and then no more");
    assert_eq!(stage.titles().await, Vec::<String>::new());
}

#[tokio::test]
async fn many_schedules_of_many_companies_run_once_each_on_two_servers() {
    const COMPANIES: usize = 6;
    const EACH: usize = 20;
    let stage = Stage::start().await;
    let world = &stage.company.world;
    let mut contexts = vec![stage.company.context.clone()];
    for n in 1..COMPANIES {
        let slug = format!("company-{n}");
        world.tenant(&slug).await;
        contexts.push(world.context(&slug).await);
    }
    for context in &contexts {
        let mut tx = world.db.begin(context).await.unwrap();
        let agent = agents::create(&mut tx, &body(json!({ "name": "Mira", "role": "support" }))).await.unwrap();
        for n in 0..EACH {
            let members = json!({
                "name": format!("s{n}"), "cron_expression": "* * * * *", "task_template": { "title": format!("t{n}") },
            });
            let zone = tenantry_core::calendar::Tz::UTC;
            schedules::create(&mut tx, &body(new(&agent, members)), zone, stage.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    let servers = [stage.scheduler(), stage.server().await, stage.server().await];
    const ROUNDS: i64 = 5;
    for _ in 0..ROUNDS {
        stage.clock.advance(TimeDelta::minutes(1));
        // Leases keep servers apart; without them, only the rows' locks do.
        for _ in 0..3 {
            let forget = "UPDATE tenantry.alarms SET leased_until = NULL, due_at = least(due_at, $1)";
            world.admin().await.execute(forget, &[&stage.now()]).await.unwrap();
            let [a, b, c] = &servers;
            let (a, b, c) = tokio::join!(a.tick(), b.tick(), c.tick());
            for tally in [a, b, c] {
                assert_eq!(tally.unwrap().put_off, 0);
            }
        }
    }
    for context in &contexts {
        let sql = format!("SELECT title, count(*) FROM {}.tasks GROUP BY title", schema(context));
        let rows = world.admin().await.query(&sql, &[]).await.unwrap();
        let counts: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(counts.len(), EACH);
        assert!(counts.values().all(|count| *count == ROUNDS), "{counts:?}");
    }
}

#[tokio::test]
async fn a_lease_of_a_server_that_died_ends() {
    let stage = Stage::start().await;
    let agent = stage.company.agent("Mira").await;
    stage.schedule(&agent, json!({ "cron_expression": "@hourly" })).await;
    stage.clock.advance(TimeDelta::hours(1));
    let lease = TimeDelta::seconds(30);
    let registry = &stage.company.world.registry;
    let taken = registry.take_alarms(schedules::ALARM, stage.now(), lease, 10).await.unwrap();
    assert_eq!(taken.iter().map(|slug| slug.as_str()).collect::<Vec<_>>(), ["acme"]);
    assert_eq!(stage.tick().await, Tally::default(), "somebody is at it");
    stage.clock.advance(lease);
    assert_eq!(stage.tick().await, ran(1, 1));
}

#[tokio::test]
async fn a_schedule_that_fails_is_slowed_down_and_then_disabled_and_the_others_run() {
    let stage = Stage::start().await;
    let (mira, gone) = (stage.company.agent("Mira").await, stage.company.agent("Gone").await);
    let failing = stage.schedule(&gone, json!({ "cron_expression": "* * * * *" })).await;
    stage.schedule(&mira, json!({ "cron_expression": "* * * * *" })).await;
    stage.company.delete_agent(&gone, None).await.unwrap();
    let mut failed_at = Vec::new();
    for minute in 1..=12 {
        stage.clock.advance(TimeDelta::minutes(1));
        let tally = stage.tick().await;
        assert_eq!((tally.ran, tally.put_off), (1, 0), "the other one runs every minute");
        if tally.failed > 0 {
            failed_at.push(minute);
        }
    }
    assert_eq!(failed_at, [1, 3, 6, 11], "at the first times after one, two and four minutes, then no more");
    let after = stage.company.find_schedule(failing.id).await;
    assert_eq!((after.enabled, after.failure_count, after.next_run_at, after.last_task_id), (false, 4, None, None));
    let failure = after.last_error.clone().unwrap();
    assert_eq!(failure.code, "unknown_agent");
    assert!(failure.detail.contains("does not exist or is deleted"), "{}", failure.detail);
    assert_eq!(stage.published("schedule.failed").await.len(), 4);
    assert_eq!(stage.published("schedule.disabled").await[0]["schedule"]["id"], json!(failing.id));
    let audited = stage.company.audited().await;
    assert_eq!(audited.iter().filter(|action| *action == "schedule.fail").count(), 4);
    assert_eq!(audited.iter().filter(|action| *action == "schedule.disable").count(), 1);
    let healed = json!({ "enabled": true, "agent_id": mira.id });
    let healed = stage.company.change_schedule(&after, healed, stage.now()).await.unwrap();
    assert_eq!((healed.failure_count, healed.last_error), (0, None));
    stage.clock.advance(TimeDelta::minutes(1));
    assert_eq!(stage.tick().await, ran(1, 2));
}

/// A failed statement ends its transaction; what ran before it in the same one must not be lost or done twice.
#[tokio::test]
async fn a_statement_that_fails_takes_nothing_else_along() {
    let stage = Stage::start().await;
    let agent = stage.company.agent("Mira").await;
    let admin = stage.company.world.admin().await;
    let account = format!(
        "INSERT INTO {}.provider_accounts (tenant_id, provider, encrypted_access_token) VALUES ($1, 'openai', 'x') RETURNING id",
        schema(&stage.company.context)
    );
    let account: uuid::Uuid = admin.query_one(&account, &[stage.company.context.id().as_uuid()]).await.unwrap().get(0);
    let template = json!({ "title": "with account", "provider_account_id": account });
    for n in 0..3 {
        let members = json!({ "cron_expression": "@hourly", "task_template": { "title": format!("before {n}") } });
        stage.schedule(&agent, members).await;
        stage.schedule(&agent, json!({ "cron_expression": "@hourly", "task_template": template })).await;
    }
    let gone = format!("DELETE FROM {}.provider_accounts", schema(&stage.company.context));
    admin.execute(&gone, &[]).await.unwrap();
    stage.clock.advance(TimeDelta::hours(1));
    assert_eq!(stage.tick().await, Tally { companies: 1, ran: 3, failed: 3, ..Tally::default() });
    let mut titles = stage.titles().await;
    titles.sort_unstable();
    assert_eq!(titles, ["before 0", "before 1", "before 2"]);
    assert_eq!(stage.published("task.created").await.len(), 3, "what was undone is not told");
}

/// The times are written by hand: a resumption is noted by the database's clock.
#[tokio::test]
async fn a_suspended_company_does_not_run_and_goes_on_with_the_next_time() {
    let mut stage = Stage::start().await;
    stage.clock = Arc::new(ManualClock::new(Utc::now()));
    let agent = stage.company.agent("Mira").await;
    let made = stage.schedule(&agent, json!({ "cron_expression": "@hourly" })).await;
    let provisioner = &stage.company.world.provisioner;
    provisioner.suspend("acme", &Actor::system("test")).await.unwrap();
    let admin = stage.company.world.admin().await;
    let due =
        format!("UPDATE {}.schedules SET next_run_at = now() - interval '1 hour'", schema(&stage.company.context));
    admin.execute(&due, &[]).await.unwrap();
    admin.execute("UPDATE tenantry.alarms SET due_at = now() - interval '1 hour'", &[]).await.unwrap();
    assert_eq!(stage.tick().await, Tally::default(), "it is not served");
    provisioner.resume("acme", &Actor::system("test")).await.unwrap();
    let heard = async || {
        let tally = stage.tick().await;
        if tally.put_off > 0 {
            admin.execute("UPDATE tenantry.alarms SET leased_until = NULL", &[]).await.unwrap();
        }
        tally
    };
    let tally = loop {
        // The server may still believe that the tenant is suspended.
        let tally = heard().await;
        if tally.skipped > 0 {
            break tally;
        }
        assert_eq!(tally.ran, 0, "what was missed is not made up for");
        tokio::task::yield_now().await;
    };
    assert_eq!(tally, Tally { companies: 1, skipped: 1, ..Tally::default() });
    let after = stage.company.find_schedule(made.id).await;
    assert!(after.next_run_at.unwrap() > Utc::now() && after.last_run_at.is_none());
    stage.clock.advance(TimeDelta::hours(1));
    assert_eq!(stage.tick().await, ran(1, 1), "the next one runs");
    assert_eq!(stage.titles().await.len(), 1);
}

/// Whoever makes something due while a server sets the alarm anew is not forgotten.
#[tokio::test]
async fn schedules_made_beside_a_running_scheduler_all_run() {
    const NEW: usize = 30;
    let stage = Stage::start().await;
    let agent = stage.company.agent("Mira").await;
    stage.schedule(&agent, json!({ "cron_expression": "* * * * *" })).await;
    stage.clock.advance(TimeDelta::minutes(1));
    let now = stage.now();
    let ticking = async {
        for _ in 0..NEW {
            let ring = "UPDATE tenantry.alarms SET leased_until = NULL, due_at = least(due_at, $1)";
            stage.company.world.admin().await.execute(ring, &[&now]).await.unwrap();
            assert_eq!(stage.tick().await.put_off, 0);
        }
    };
    let making = async {
        for n in 0..NEW {
            let members = json!({ "name": format!("n{n}"), "cron_expression": "* * * * *" });
            stage.company.schedule(&agent, members, now).await;
        }
    };
    tokio::join!(ticking, making);
    let due = utc("2026-03-27T12:02:00Z");
    assert_eq!(stage.company.alarm().await, Some(due));
    stage.clock.advance(TimeDelta::minutes(1));
    assert_eq!(stage.tick().await.ran, NEW + 1);
}
