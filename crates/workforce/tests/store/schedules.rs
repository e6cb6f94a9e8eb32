use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenantry_core::calendar::Tz;
use workforce::agent::Agent;
use workforce::schedule::{Schedule, ScheduleFilter, ScheduleOrder};
use workforce::store::schedules as store;
use workforce::task::{Priority, Task};
use workforce::{Error, Kind, Place, ScheduleId};

use crate::{Company, body, limit};

/// What the tests make of an agent and a few members.
pub(crate) fn new(agent: &Agent, members: Value) -> Value {
    let mut new = json!({
        "agent_id": agent.id, "name": "Report", "cron_expression": "0 9 * * *", "time_zone": "Europe/Berlin",
        "task_template": { "title": "Report" },
    });
    for (name, value) in members.as_object().unwrap() {
        new[name] = value.clone();
    }
    new
}

pub(crate) fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

impl Company {
    pub(crate) async fn try_schedule(&self, new: Value, now: DateTime<Utc>) -> Result<Schedule, Error> {
        let mut tx = self.begin().await;
        let schedule = store::create(&mut tx, &body(new), Tz::Asia__Kolkata, now).await?;
        tx.commit().await?;
        Ok(schedule)
    }

    pub(crate) async fn schedule(&self, agent: &Agent, members: Value, now: DateTime<Utc>) -> Schedule {
        self.try_schedule(new(agent, members), now).await.unwrap()
    }

    pub(crate) async fn change_schedule(
        &self,
        schedule: &Schedule,
        change: Value,
        now: DateTime<Utc>,
    ) -> Result<Schedule, Error> {
        let mut tx = self.begin().await;
        let after = store::update(&mut tx, schedule.id, schedule.version, &body(change), now).await?;
        tx.commit().await?;
        Ok(after)
    }

    pub(crate) async fn find_schedule(&self, id: ScheduleId) -> Schedule {
        store::find(&mut self.single().await, id, true).await.unwrap()
    }

    async fn run_now(&self, schedule: &Schedule, now: DateTime<Utc>) -> Result<Task, Error> {
        let mut tx = self.begin().await;
        let task = store::run_now(&mut tx, schedule.id, now).await?;
        tx.commit().await?;
        Ok(task)
    }

    /// When the tenant's alarm rings.
    pub(crate) async fn alarm(&self) -> Option<DateTime<Utc>> {
        let sql = "SELECT due_at FROM tenantry.alarms WHERE tenant_id = $1 AND kind = 'schedules'";
        let id = *self.context.id().as_uuid();
        self.world.admin().await.query_opt(sql, &[&id]).await.unwrap().map(|row| row.get(0))
    }
}

#[tokio::test]
async fn what_is_created_is_found_with_its_next_runs() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let now = utc("2026-03-27T12:00:00Z");
    let made = company.schedule(&agent, json!({}), now).await;
    assert_eq!((made.enabled, made.version, made.failure_count), (true, 1, 0));
    let shown: Vec<String> = made.next_runs.iter().map(|run| run.local.to_rfc3339()).collect();
    let expected = [
        "2026-03-28T09:00:00+01:00",
        "2026-03-29T09:00:00+02:00",
        "2026-03-30T09:00:00+02:00",
        "2026-03-31T09:00:00+02:00",
        "2026-04-01T09:00:00+02:00",
    ];
    assert_eq!(shown, expected);
    assert_eq!(
        (made.next_run_at, made.next_runs[0].utc),
        (Some(utc("2026-03-28T08:00:00Z")), utc("2026-03-28T08:00:00Z"))
    );
    assert_eq!(company.find_schedule(made.id).await, made);
    assert_eq!(company.alarm().await, made.next_run_at);
    let plain =
        json!({ "agent_id": agent.id, "name": "n", "cron_expression": "@daily", "task_template": { "title": "t" } });
    let plain = company.try_schedule(plain, now).await.unwrap();
    assert_eq!((plain.time_zone.as_str(), plain.next_run_at), ("Asia/Kolkata", Some(utc("2026-03-27T18:30:00Z"))));
    assert_eq!(company.alarm().await, plain.next_run_at, "the alarm was advanced");
    let off = company.schedule(&agent, json!({ "enabled": false, "cron_expression": "* * * * *" }), now).await;
    assert_eq!((off.next_run_at, off.next_runs.len()), (None, 0));
    assert_eq!(company.alarm().await, plain.next_run_at, "one that is off does not ring");
    let unknown = store::find(&mut company.single().await, ScheduleId::generate(), true).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: Kind::Schedule, .. }));
}

#[tokio::test]
async fn a_schedule_names_live_agents_and_known_accounts() {
    let company = Company::start().await;
    let (mira, gone) = (company.agent("Mira").await, company.agent("Gone").await);
    company.delete_agent(&gone, None).await.unwrap();
    let now = Utc::now();
    let by_gone = json!({ "task_template": { "title": "t", "created_by_id": gone.id } });
    for (new, member) in
        [(new(&gone, json!({})), "/agent_id"), (new(&mira, by_gone.clone()), "/task_template/created_by_id")]
    {
        let error = company.try_schedule(new, now).await.unwrap_err();
        assert!(matches!(error, Error::UnknownAgent { pointer, .. } if pointer == member), "{error}");
    }
    let account = json!({ "task_template": { "title": "t", "provider_account_id": uuid::Uuid::nil() } });
    let error = company.try_schedule(new(&mira, account.clone()), now).await.unwrap_err();
    assert!(matches!(error, Error::UnknownAccountIn { .. }), "{error}");
    let schedule = company.schedule(&mira, json!({}), now).await;
    for change in [json!({ "agent_id": gone.id }), by_gone, account] {
        company.change_schedule(&schedule, change, now).await.unwrap_err();
    }
    assert_eq!(company.find_schedule(schedule.id).await, schedule);
    assert_eq!(company.audited().await.iter().filter(|action| action.starts_with("schedule.")).count(), 1);
}

#[tokio::test]
async fn changes_count_from_now_on_and_need_the_version() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let made = company.schedule(&agent, json!({}), utc("2026-03-27T12:00:00Z")).await;
    let later = utc("2026-03-27T12:30:00Z");
    let renamed = company.change_schedule(&made, json!({ "name": "Other" }), later).await.unwrap();
    assert_eq!((renamed.version, renamed.next_run_at), (2, made.next_run_at));
    let conflict = company.change_schedule(&made, json!({ "name": "x" }), later).await.unwrap_err();
    assert!(matches!(conflict, Error::VersionConflict { kind: Kind::Schedule, expected: 1, actual: 2, .. }));
    let hourly = json!({ "cron_expression": "@hourly", "time_zone": "UTC" });
    let hourly = company.change_schedule(&renamed, hourly, later).await.unwrap();
    assert_eq!(hourly.next_run_at, Some(utc("2026-03-27T13:00:00Z")));
    assert_eq!(company.alarm().await, hourly.next_run_at);
    let off = company.change_schedule(&hourly, json!({ "enabled": false }), later).await.unwrap();
    assert_eq!((off.next_run_at, off.next_runs.len()), (None, 0));
    let on = company.change_schedule(&off, json!({ "enabled": true }), utc("2026-03-28T00:10:00Z")).await.unwrap();
    assert_eq!(on.next_run_at, Some(utc("2026-03-28T01:00:00Z")));
    let mut tx = company.begin().await;
    store::delete(&mut tx, on.id, Some(1)).await.unwrap_err();
    tx.rollback().await.unwrap();
    let mut tx = company.begin().await;
    store::delete(&mut tx, on.id, Some(on.version)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(company.find_schedule(on.id).await.deleted_at.is_some());
    assert!(store::find(&mut company.single().await, on.id, false).await.is_err());
    let actions: Vec<String> =
        company.audited().await.into_iter().filter(|action| action.starts_with("schedule.")).collect();
    let update = "schedule.update";
    assert_eq!(actions, ["schedule.create", update, update, update, update, "schedule.delete"]);
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let now = Utc::now();
    for (agent, name, enabled, hour) in
        [(&mira, "a", true, 8), (&mira, "b", false, 8), (&ole, "c", true, 9), (&ole, "d", true, 7)]
    {
        let cron = format!("0 {hour} 29 2 *");
        company.schedule(agent, json!({ "name": name, "enabled": enabled, "cron_expression": cron }), now).await;
    }
    let names = async |filter: ScheduleFilter| {
        let newest = ScheduleOrder::Newest;
        let page = store::list(&mut company.single().await, &filter, newest, None, limit(200)).await.unwrap();
        page.data.into_iter().map(|schedule| schedule.name).collect::<String>()
    };
    assert_eq!(names(ScheduleFilter::default()).await, "dcba");
    assert_eq!(names(ScheduleFilter { enabled: Some(true), ..ScheduleFilter::default() }).await, "dca");
    assert_eq!(names(ScheduleFilter { enabled: Some(false), ..ScheduleFilter::default() }).await, "b");
    assert_eq!(names(ScheduleFilter { agent_id: Some(mira.id), ..ScheduleFilter::default() }).await, "ba");
    for (order, expected) in [
        (ScheduleOrder::Newest, "dcba"),
        (ScheduleOrder::Oldest, "abcd"),
        (ScheduleOrder::Name, "abcd"),
        (ScheduleOrder::NameBackwards, "dcba"),
        (ScheduleOrder::Soonest, "dacb"),
    ] {
        let (mut seen, mut after) = (String::new(), None);
        loop {
            let filter = ScheduleFilter::default();
            let page =
                store::list(&mut company.single().await, &filter, order, after.as_ref(), limit(1)).await.unwrap();
            seen.extend(page.data.iter().map(|schedule| schedule.name.as_str()));
            let Some(cursor) = page.next_cursor else { break };
            after = Some(Place::decode(&cursor, order).unwrap());
        }
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn a_run_by_hand_makes_the_templates_task_and_leaves_the_times_alone() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let now = utc("2026-03-27T12:00:00Z");
    let template = json!({
        "title": "Report", "description": "All of it", "priority": "urgent", "created_by_id": ole.id, "max_retries": 1,
        "provider": "openai", "deadline_seconds": 90,
    });
    let made = company.schedule(&mira, json!({ "task_template": template, "enabled": false }), now).await;
    let later = now + TimeDelta::hours(1);
    let task = company.run_now(&made, later).await.unwrap();
    assert_eq!((task.agent_id, task.created_by_id, task.title.as_str()), (mira.id, ole.id, "Report"));
    assert_eq!((task.priority, task.max_retries, task.provider.as_deref()), (Priority::Urgent, 1, Some("openai")));
    assert_eq!(task.deadline, Some(later + TimeDelta::seconds(90)));
    let after = company.find_schedule(made.id).await;
    assert_eq!((after.last_run_at, after.last_task_id, after.next_run_at), (Some(later), Some(task.id), None));
    assert_eq!(after.version, 2);
    company.delete_agent(&mira, None).await.unwrap();
    let error = company.run_now(&made, later).await.unwrap_err();
    assert!(matches!(error, Error::UnknownAgent { .. }));
    assert_eq!(company.find_schedule(made.id).await.failure_count, 0, "a refusal is no failure of the schedule");
}
