//! Orders of lists: each is total, and its pages are the list.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tenantry_postgres::Type;
use workforce::activity::Activity;
use workforce::agent::{Agent, AgentFilter, AgentOrder, AgentStatus};
use workforce::message::Message;
use workforce::session::Session;
use workforce::store::{agents, claim, tasks};
use workforce::task::{Priority, Task, TaskFilter, TaskOrder};
use workforce::{Record, TaskStatus};

use crate::{Company, after, limit};

async fn all_agents(company: &Company, order: AgentOrder, rows: i64) -> Vec<Agent> {
    let (mut found, mut place) = (Vec::new(), None);
    loop {
        let mut tx = company.single().await;
        let filter = AgentFilter::default();
        let page = agents::list(&mut tx, &filter, order, place.as_ref(), limit(rows)).await.unwrap();
        place = after(&page, order);
        found.extend(page.data);
        if place.is_none() {
            return found;
        }
    }
}

async fn all_tasks(company: &Company, filter: &TaskFilter, order: TaskOrder, rows: i64) -> Vec<Task> {
    let (mut found, mut place) = (Vec::new(), None);
    loop {
        let mut tx = company.single().await;
        let page = tasks::list(&mut tx, filter, order, place.as_ref(), limit(rows)).await.unwrap();
        place = after(&page, order);
        found.extend(page.data);
        if place.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn agents_are_listed_in_every_order() {
    let company = Company::start().await;
    for name in ["bea", "Abe", "abel", "Zoe", "ABE 2", "čeda"] {
        company.agent(name).await;
    }
    let abe = all_agents(&company, AgentOrder::Oldest, 50).await.remove(1);
    company.change_agent(&abe, json!({ "role": "boss" })).await.unwrap();
    for order in AgentOrder::ALL {
        let whole = all_agents(&company, *order, 50).await;
        assert_eq!(whole.len(), 6, "{order}");
        for rows in [1, 2, 5, 6] {
            assert_eq!(all_agents(&company, *order, rows).await, whole, "{order} by {rows}");
        }
    }
    for (order, reverse) in [
        (AgentOrder::Newest, AgentOrder::Oldest),
        (AgentOrder::JustChanged, AgentOrder::LongUnchanged),
        (AgentOrder::Name, AgentOrder::NameBackwards),
    ] {
        let mut reversed = all_agents(&company, reverse, 3).await;
        reversed.reverse();
        assert_eq!(all_agents(&company, order, 3).await, reversed, "{order} is {reverse} turned round");
    }
    let names: Vec<String> = all_agents(&company, AgentOrder::Name, 2).await.into_iter().map(|a| a.name).collect();
    assert_eq!(names[..4], ["Abe", "ABE 2", "abel", "bea"]);
    assert_eq!(all_agents(&company, AgentOrder::JustChanged, 1).await[0].name, "Abe");
}

#[tokio::test]
async fn tasks_are_listed_in_every_order() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let now = Utc::now();
    for (i, priority) in ["low", "high", "urgent", "normal", "high", "low", "urgent"].iter().enumerate() {
        let i = i64::try_from(i).unwrap();
        // two are due at once, two are not due at all
        let deadline = (i < 5).then(|| now + TimeDelta::hours(10 - i / 2));
        let agent = if i % 3 == 0 { &ole } else { &mira };
        let title = if i % 2 == 0 { format!("T{i}") } else { format!("t{i}") };
        company
            .try_task(json!({ "agent_id": agent.id, "title": title, "priority": priority, "deadline": deadline }))
            .await
            .unwrap();
    }
    for agent_id in [None, Some(mira.id)] {
        let filter = TaskFilter { agent_id, ..TaskFilter::default() };
        for order in TaskOrder::ALL {
            let whole = all_tasks(&company, &filter, *order, 50).await;
            assert_eq!(whole.len(), if agent_id.is_some() { 4 } else { 7 }, "{order}");
            for rows in [1, 2, 3] {
                assert_eq!(all_tasks(&company, &filter, *order, rows).await, whole, "{order} by {rows}");
            }
        }
    }
    let any = TaskFilter::default();
    for (order, reverse) in [
        (TaskOrder::Newest, TaskOrder::Oldest),
        (TaskOrder::Urgent, TaskOrder::Leisurely),
        (TaskOrder::DueSoon, TaskOrder::DueLate),
        (TaskOrder::Title, TaskOrder::TitleBackwards),
    ] {
        let mut reversed = all_tasks(&company, &any, reverse, 2).await;
        reversed.reverse();
        assert_eq!(all_tasks(&company, &any, order, 2).await, reversed, "{order} is {reverse} turned round");
    }
    let priorities: Vec<Priority> =
        all_tasks(&company, &any, TaskOrder::Urgent, 3).await.into_iter().map(|t| t.priority).collect();
    use Priority::{High, Low, Normal, Urgent};
    assert_eq!(priorities, [Urgent, Urgent, High, High, Normal, Low, Low]);
    let due: Vec<_> = all_tasks(&company, &any, TaskOrder::DueSoon, 3).await.into_iter().map(|t| t.deadline).collect();
    assert!(due[..5].windows(2).all(|pair| pair[0] <= pair[1]) && due[5..] == [None, None], "{due:?}");
    let titles: Vec<_> = all_tasks(&company, &any, TaskOrder::Title, 2).await.into_iter().map(|t| t.title).collect();
    assert_eq!(titles, ["T0", "t1", "T2", "t3", "T4", "t5", "T6"]);
}

#[tokio::test]
async fn further_filters_apply() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    company.change_agent(&ole, json!({ "status": "offline", "role": "100% sales" })).await.unwrap();
    let agents = async |filter: AgentFilter| {
        let page = agents::list(&mut company.single().await, &filter, AgentOrder::Name, None, limit(9)).await.unwrap();
        page.data.into_iter().map(|agent| agent.name).collect::<Vec<_>>().join(" ")
    };
    let any = AgentFilter::default;
    let search = |text: &str| Some(text.to_owned());
    assert_eq!(agents(AgentFilter { search: search("IR"), ..any() }).await, "Mira");
    assert_eq!(agents(AgentFilter { search: search("% SALES"), ..any() }).await, "Ole", "in the role, as it is");
    assert_eq!(agents(AgentFilter { search: search("_"), ..any() }).await, "");
    let both = vec![AgentStatus::Idle, AgentStatus::Offline];
    assert_eq!(agents(AgentFilter { status: both, ..any() }).await, "Mira Ole");
    assert_eq!(agents(AgentFilter { created_after: Some(ole.created_at), ..any() }).await, "Ole", "at or after");
    assert_eq!(agents(AgentFilter { created_before: Some(ole.created_at), ..any() }).await, "Mira");

    let one = company.task(&mira, "Call Bob").await;
    let two = company.task(&mira, "call \\Ann%").await;
    company.change_task(&two, json!({ "status": "blocked", "priority": "low" })).await.unwrap();
    let tasks = async |filter: TaskFilter| {
        let found = all_tasks(&company, &filter, TaskOrder::Oldest, 1).await;
        found.into_iter().map(|task| task.title).collect::<Vec<_>>()
    };
    let any = TaskFilter::default;
    assert_eq!(tasks(TaskFilter { search: search("CALL"), ..any() }).await, ["Call Bob", "call \\Ann%"]);
    assert_eq!(tasks(TaskFilter { search: search("\\ann%"), ..any() }).await, ["call \\Ann%"]);
    let open = vec![TaskStatus::Pending, TaskStatus::Blocked];
    assert_eq!(tasks(TaskFilter { status: open.clone(), ..any() }).await.len(), 2);
    let low = vec![Priority::Low, Priority::Urgent];
    assert_eq!(tasks(TaskFilter { status: open, priority: low, ..any() }).await, ["call \\Ann%"]);
    assert_eq!(tasks(TaskFilter { created_before: Some(two.created_at), ..any() }).await, ["Call Bob"]);
    assert_eq!(tasks(TaskFilter { created_after: Some(two.created_at), ..any() }).await, ["call \\Ann%"]);
    assert_eq!(tasks(TaskFilter { ready: Some(true), ..any() }).await, [one.title]);
    assert_eq!(tasks(TaskFilter { ready: Some(false), ..any() }).await, ["call \\Ann%"]);
}

#[tokio::test]
async fn the_fields_of_a_record_are_its_members() {
    fn members(record: &impl serde::Serialize) -> Vec<String> {
        // the order of the text, which a map would not keep
        let Value::Object(map) = serde_json::to_value(record).unwrap() else { panic!("a record is an object") };
        let text = serde_json::to_string(record).unwrap();
        let mut names: Vec<String> = map.keys().cloned().collect();
        names.sort_by_key(|name| text.find(&format!("\"{name}\":")).unwrap());
        names
    }
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    assert_eq!(members(&agent), Agent::FIELDS);
    assert_eq!(members(&company.task(&agent, "x").await), Task::FIELDS);
    assert_eq!(members(&company.draft(&agent, "x").await), Message::FIELDS);
    assert_eq!(members(&company.log(json!({ "agent_id": agent.id, "action": "x" })).await.unwrap()), Activity::FIELDS);
    assert_eq!(members(&company.run(json!({ "agent_id": agent.id })).await.unwrap()), Session::FIELDS);
}

/// The plan of a statement for whatever parameters come, as a superuser sees it.
async fn plan(company: &Company, statement: &'static tenantry_postgres::Statement) -> String {
    let client = company.world.admin().await;
    let text = statement.for_schema(&company.context.tenant().schema);
    client.batch_execute(&format!("SET plan_cache_mode = force_generic_plan; PREPARE p AS {text}")).await.unwrap();
    let nulls = vec!["NULL"; statement.params().len()].join(", ");
    let rows = client.query(&format!("EXPLAIN EXECUTE p ({nulls})"), &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_usual_questions_are_answered_from_an_index() {
    let company = Company::start().await;
    let both = [company.agent("Mira").await, company.agent("Ole").await];
    let schema = company.context.tenant().schema.quoted();
    let fill = format!(
        "INSERT INTO {schema}.tasks (agent_id, created_by_id, title, status, created_at) \
         SELECT a, a, 't', CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'completed' END, now() - make_interval(secs => n) \
         FROM generate_series(1, 20000) n, (SELECT unnest(ARRAY['{}', '{}']::uuid[]) AS a) agents; ANALYZE {schema}.tasks",
        both[0].id, both[1].id
    );
    company.world.admin().await.batch_execute(&fill).await.unwrap();
    for (statement, index) in [
        (&tasks::LIST_TASKS_NEWEST, "tasks_by_age"),
        (&tasks::LIST_TASKS_OLDEST, "tasks_by_age"),
        (&tasks::LIST_AGENT_TASKS_NEWEST, "tasks_by_agent"),
        (&tasks::LIST_AGENT_TASKS_OLDEST, "tasks_by_agent"),
    ] {
        let plan = plan(&company, statement).await;
        assert!(plan.contains(index) && !plan.contains("Sort"), "{}: {plan}", statement.name());
    }
    for statement in [&claim::NEXT_TASKS, &agents::LEAVE_WORK] {
        let plan = plan(&company, statement).await;
        assert!(plan.contains("tasks_open"), "{}: {plan}", statement.name());
    }
}

/// A statement whose parts depend on its parameters is planned for them each time, which can cost more than it takes to run.
#[tokio::test]
async fn the_usual_questions_keep_their_plan() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    let schema = company.context.tenant().schema.quoted();
    let fill = format!(
        "INSERT INTO {schema}.tasks (agent_id, created_by_id, title, created_at) \
         SELECT '{0}', '{0}', 't', now() - make_interval(secs => n) FROM generate_series(1, 200) n; \
         INSERT INTO {schema}.agents (name, role) SELECT 'a' || n, 'r' FROM generate_series(1, 100) n; ANALYZE {schema}.tasks, {schema}.agents",
        mira.id
    );
    company.world.admin().await.batch_execute(&fill).await.unwrap();
    let own = TaskFilter { agent_id: Some(mira.id), ..TaskFilter::default() };
    let mut tx = company.begin().await;
    for _ in 0..8 {
        agents::list(&mut tx, &AgentFilter::default(), AgentOrder::Newest, None, limit(50)).await.unwrap();
        tasks::list(&mut tx, &TaskFilter::default(), TaskOrder::Newest, None, limit(50)).await.unwrap();
        tasks::list(&mut tx, &own, TaskOrder::Newest, None, limit(50)).await.unwrap();
        tasks::find(&mut tx, workforce::TaskId::generate(), false).await.unwrap_err();
    }
    for statement in [&agents::LIST_AGENTS, &tasks::LIST_TASKS, &tasks::LIST_AGENT_TASKS, &tasks::FIND_TASK] {
        let text = statement.for_schema(&company.context.tenant().schema);
        let sql = "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1";
        let rows = tx.raw(sql, &[(&text, Type::TEXT)]).await.unwrap();
        assert!(rows[0].get::<_, i64>(0) > 0, "{} is planned anew each time", statement.name());
    }
}
