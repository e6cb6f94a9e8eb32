//! The client against a server: each operation of the API has a function, and each function works.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken;
mod relay;

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use isolation::server::TestServer;
use metering::CreatePriceOverride;
use metering::api::analytics::RoiRequest;
use metering::budgets::Scope;
use metering::insight::Bridge;
use metering::provider_call::{ProviderCallFilter, RecordCall};
use relay::Relay;
use serde_json::json;
use tenantry_client::{BudgetFilter, BulkItem, CallsOf, Client, Event, MemberFilter};
use workforce::account::AccountFilter;
use workforce::activity::{ActivityFilter, CreateActivity};
use workforce::agent::{Agent, AgentFilter, AgentOrder, CreateAgent, UpdateAgent};
use workforce::credential::UseCredential;
use workforce::message::{CreateBroadcast, CreateMessage, Message, MessageFilter, MessageType, UpdateMessage};
use workforce::schedule::{CreateSchedule, ScheduleFilter, UpdateSchedule};
use workforce::session::{CreateSession, ReportUsage, SessionFilter, SessionStatus};
use workforce::settings::UpdateSettings;
use workforce::task::{CreateTask, TaskFilter, TaskOrder, UpdateTask};
use workforce::{
    AddMember, AgentId, CreateApiKey, LimitSource, MemberRole, MessageStatus, Patch, TaskStatus, UpdateMember,
};

fn agent(name: &str) -> CreateAgent {
    CreateAgent { name: name.into(), role: "support".into(), ..CreateAgent::default() }
}

fn draft(from: AgentId, text: &str) -> CreateMessage {
    CreateMessage {
        from_agent_id: from,
        to_agent_id: None,
        subject: String::new(),
        body: text.into(),
        kind: Some(MessageType::ExternalDraft),
        external_recipient: Some("ines@customer.example".into()),
    }
}

fn direct(from: AgentId, to: AgentId) -> CreateMessage {
    CreateMessage {
        from_agent_id: from,
        to_agent_id: Some(to),
        subject: "Tents".into(),
        body: "They are at sea".into(),
        kind: None,
        external_recipient: None,
    }
}

/// What the OpenAPI document of the server calls `method path`, with the parameters' places empty.
async fn operations(server: &TestServer) -> BTreeSet<String> {
    let document: serde_json::Value =
        server.request(tenantry_client::Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    let tenants = paths.iter().filter(|(path, _)| path.starts_with("/v1/"));
    tenants
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

/// Whether a path is one of a template's.
fn matches(template: &str, request: &str) -> bool {
    let (template, request): (Vec<_>, Vec<_>) = (template.split('/').collect(), request.split('/').collect());
    template.len() == request.len()
        && template.iter().zip(request).all(|(expected, given)| expected.starts_with('{') || *expected == given)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_a_function() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let relay = Relay::start(server.address).await;
    let client = Client::builder(relay.url(), &acme.key).tenant("acme").build().unwrap();

    let (mira, nadia) = agents(&client).await;
    tasks(&client, &mira, &nadia).await;
    messages(&client, &mira, &nadia).await;
    activity_and_sessions(&client, &mira).await;
    schedules_and_settings(&client, &mira).await;
    statements(&client).await;

    budgets(&client, &mira).await;
    access(&client).await;
    analytics(&client).await;
    prices(&client).await;
    provider_calls(&client).await;
    secrets(&client, &mira).await;
    let first = client.events().after(0).stream().try_next().await.unwrap().unwrap();
    assert!(matches!(&first, Event::Published(event) if event.record::<Agent>().unwrap().name == "Mira"), "{first:?}");

    let used = relay.seen();
    let documented = operations(&server).await;
    assert!(documented.len() > 30, "{documented:?}");
    let unused: Vec<_> = documented
        .iter()
        .filter(|operation| {
            // a fixed path is not taken for one with a parameter
            let exact = |request: &&String| !documented.contains(*request) || request == operation;
            !used.iter().filter(exact).any(|request| matches(operation, request))
        })
        .collect();
    assert!(unused.is_empty(), "operations of the API without a function that this test calls: {unused:#?}");
}

/// A company without calls gets an answer to each question.
async fn analytics(client: &Client) {
    let (analytics, all) = (client.analytics(), CallsOf::default());
    assert_eq!(analytics.cost_summary(&all).await.unwrap().total.calls, 0);
    let gpt = CallsOf { model: Some("gpt-5".into()), ..CallsOf::default() };
    assert!(analytics.usage(&gpt).query("group_by", "agent").await.unwrap().groups.is_empty());
    assert!(analytics.providers(&all).query("by", "model").await.unwrap().data.is_empty());
    assert_eq!(analytics.trends(&all).await.unwrap().outlook.forecast, None);
    assert!(analytics.task_types(&all).await.unwrap().data.is_empty());
    assert_eq!(analytics.savings(&all).await.unwrap().total.savings_percent, None);
    assert!(analytics.roi(&all).await.unwrap().stored.data.is_empty());
    let nothing = analytics.store_roi(&RoiRequest::default()).await.unwrap_err();
    assert_eq!(nothing.code(), Some("roi_not_computable"));
    assert_eq!(analytics.what_if(&all, "openai", "gpt-5").await.unwrap().compared_calls, 0);
    assert_eq!(analytics.explain(&all).await.unwrap().bridge, Bridge::default());
    let export = analytics.export(&all).query("rows", "days").stream().await.unwrap();
    let file = String::from_utf8(export.try_concat().await.unwrap()).unwrap();
    assert!(file.starts_with("day,") && file.lines().count() == 1, "a line of names: {file}");
    let Err(refused) = analytics.export(&all).query("format", "parquet").stream().await else {
        panic!("there is no such format")
    };
    assert_eq!(refused.code(), Some("invalid_query"));
}

async fn statements(client: &Client) {
    let month: metering::statements::Month = chrono::Utc::now().format("%Y-%m").to_string().parse().unwrap();
    let running = client.statements().get(month).await.unwrap();
    assert_eq!((running.summary.status.as_str(), running.lines.len()), ("open", 0));
    assert_eq!(client.statements().list_closed().all().await.unwrap().len(), 0);
}

async fn agents(client: &Client) -> (Agent, Agent) {
    let agents = client.agents();
    let mira = agents.create(&agent("Mira")).await.unwrap();
    assert_eq!(agents.get(mira.id).await.unwrap(), mira);
    assert_eq!(agents.get_unless(mira.id, mira.version).await.unwrap(), None);
    let change = UpdateAgent {
        personality_prompt: Patch::Set("Brief.".into()),
        capabilities: vec!["mail".to_owned()].into(),
        ..UpdateAgent::default()
    };
    let changed = agents.update(mira.id, mira.version, &change).await.unwrap();
    assert_eq!((changed.version, changed.personality_prompt.as_str()), (mira.version + 1, "Brief."));
    assert_eq!(agents.get_unless(mira.id, mira.version).await.unwrap().as_ref(), Some(&changed));

    let refused = agents.update(mira.id, mira.version, &change).await.unwrap_err();
    let refused = refused.api().unwrap();
    assert_eq!((refused.status, refused.code.as_str()), (409, "version_conflict"));
    assert_eq!(refused.current::<Agent>().as_ref(), Some(&changed));
    let cleared = UpdateAgent { personality_prompt: Patch::Clear, ..UpdateAgent::default() };
    let mira = agents.update(mira.id, changed.version, &cleared).await.unwrap();
    assert_eq!((mira.personality_prompt.as_str(), mira.capabilities.len()), ("", 1), "absent members stay");

    let invalid = agents.create(&CreateAgent { name: String::new(), ..agent("") }).await.unwrap_err();
    let invalid = invalid.api().unwrap();
    assert_eq!((invalid.code.as_str(), invalid.errors[0].pointer.as_deref()), ("validation_failed", Some("/name")));
    assert!(invalid.request_id.is_some());

    let items = [BulkItem::Create(agent("Nadia")), BulkItem::Create(agent("Olga")), BulkItem::Create(agent("Mira"))];
    let made = agents.bulk(false, &items).await.unwrap();
    assert_eq!((made.succeeded, made.failed), (2, 1));
    assert_eq!(made.items[2].problem.as_ref().unwrap().code, "agent_name_taken");
    let nadia = made.items.into_iter().next().unwrap().record.unwrap();

    let filter = AgentFilter { role: Some("support".into()), ..AgentFilter::default() };
    let names: Vec<String> = agents
        .list(&filter)
        .sort(AgentOrder::NameBackwards)
        .page_size(1)
        .stream()
        .map_ok(|agent| agent.name)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names, ["Olga", "Nadia", "Mira"], "three pages");
    let olga = agents.list(&AgentFilter { search: Some("olg".into()), ..AgentFilter::default() }).all().await.unwrap();
    agents.delete(olga[0].id, olga[0].version).await.unwrap();
    assert_eq!(agents.get(olga[0].id).await.unwrap_err().code(), Some("agent_not_found"));
    (mira, nadia)
}

async fn tasks(client: &Client, mira: &Agent, nadia: &Agent) {
    let tasks = client.tasks();
    let walls = tasks.create(&CreateTask::new(mira.id, "Walls")).await.unwrap();
    let roof = CreateTask { depends_on: vec![walls.id], ..CreateTask::new(mira.id, "Roof") };
    let roof = tasks.create(&roof).await.unwrap();
    assert_eq!(tasks.get(roof.id).await.unwrap(), roof);
    let ready = TaskFilter { ready: Some(true), agent_id: Some(mira.id), ..TaskFilter::default() };
    let ready = tasks.list(&ready).sort(TaskOrder::Urgent).all().await.unwrap();
    assert_eq!(ready.iter().map(|task| task.id).collect::<Vec<_>>(), [walls.id]);

    let permit = tasks.create(&CreateTask::new(nadia.id, "Permit")).await.unwrap();
    let of_roof = tasks.dependencies(roof.id);
    assert_eq!(of_roof.add(permit.id).await.unwrap().depends_on_task_id, permit.id);
    assert_eq!(of_roof.list(true).all().await.unwrap().len(), 2);
    of_roof.remove(permit.id).await.unwrap();

    let claimed = tasks.claim(mira.id, 5).await.unwrap().data;
    assert_eq!(claimed.iter().map(|task| task.id).collect::<Vec<_>>(), [walls.id]);
    let items = [BulkItem::Update {
        id: walls.id,
        change: UpdateTask {
            version: Some(claimed[0].version),
            status: TaskStatus::Completed.into(),
            ..UpdateTask::default()
        },
    }];
    assert_eq!(tasks.bulk(true, &items).await.unwrap().succeeded, 1);
    let change = UpdateTask { title: Patch::Set("Permits".into()), ..UpdateTask::default() };
    let permit = tasks.update(permit.id, permit.version, &change).await.unwrap();
    tasks.delete(permit.id, permit.version).await.unwrap();
}

async fn messages(client: &Client, mira: &Agent, nadia: &Agent) {
    let messages = client.messages();
    let sent = messages.create(&direct(mira.id, nadia.id)).await.unwrap();
    assert_eq!(messages.get(sent.id).await.unwrap(), sent);
    assert_eq!(messages.deliver(sent.id).await.unwrap().status, MessageStatus::Delivered);
    assert_eq!(messages.read(sent.id).await.unwrap().status, MessageStatus::Read);
    let second = messages.create(&direct(mira.id, nadia.id)).await.unwrap();
    let threads = messages.threads();
    assert_eq!(threads.list(nadia.id).all().await.unwrap()[0].unread, 1);
    assert_eq!(threads.messages(nadia.id, mira.id).all().await.unwrap().len(), 2);
    assert_eq!(threads.read(nadia.id, mira.id, second.id).await.unwrap().read, 1);

    let everyone = CreateBroadcast { from_agent_id: mira.id, subject: String::new(), body: "Gate 3 is closed".into() };
    let everyone = messages.broadcast(&everyone).await.unwrap();
    let of_it = MessageFilter { broadcast_id: Some(everyone.broadcast_id), ..MessageFilter::default() };
    assert_eq!(messages.list(&of_it).all().await.unwrap().len(), 1);

    let first = messages.create(&draft(mira.id, "Refund?")).await.unwrap();
    let change = UpdateMessage { body: Patch::Set("Refund, or the footprint?".into()), ..UpdateMessage::default() };
    let changed = messages.update(first.id, first.version, &change).await.unwrap();
    let stale = messages.approve(first.id, first.version).await.unwrap_err();
    assert_eq!(stale.api().unwrap().current::<Message>().as_ref(), Some(&changed));
    assert_eq!(messages.approve(first.id, changed.version).await.unwrap().status, MessageStatus::Approved);
    let other = messages.create(&draft(mira.id, "No.")).await.unwrap();
    let other = messages.reject(other.id, other.version).await.unwrap();
    messages.delete(other.id, other.version).await.unwrap();
}

async fn activity_and_sessions(client: &Client, mira: &Agent) {
    let log = client.activity();
    let details = serde_json::json!({ "ticket": 4711 });
    let new = CreateActivity { agent_id: mira.id, task_id: None, action: "ticket.answered".into(), details };
    let entry = log.create(&new).await.unwrap();
    assert_eq!(log.get(entry.id).await.unwrap(), entry);
    let filter =
        ActivityFilter { actions: vec![new.action], since: Some(entry.timestamp), ..ActivityFilter::default() };
    assert_eq!(log.list(&filter).all().await.unwrap(), [entry]);

    let sessions = client.sessions();
    let new = CreateSession { agent_id: mira.id, task_id: None };
    let session = sessions.create(&new).await.unwrap();
    let usage = ReportUsage { tokens_used: [("input".to_owned(), 512)].into(), tool_calls: Vec::new() };
    assert_eq!(sessions.report(session.id, &usage).await.unwrap().tokens_used["input"], 512);
    assert_eq!(sessions.end(session.id).await.unwrap().status, SessionStatus::Ended);
    assert_eq!(sessions.get(session.id).await.unwrap().status, SessionStatus::Ended);
    let broken = sessions.create(&new).await.unwrap();
    sessions.fail(broken.id).await.unwrap();
    let failed = SessionFilter { statuses: vec![SessionStatus::Failed], ..SessionFilter::default() };
    assert_eq!(sessions.list(&failed).all().await.unwrap()[0].id, broken.id);
}

async fn schedules_and_settings(client: &Client, mira: &Agent) {
    let schedules = client.schedules();
    let preview = schedules.preview("0 9 * * MON-FRI", Some("Europe/Berlin")).await.unwrap();
    assert!(!preview.next_runs.is_empty());
    let new = serde_json::json!({
        "agent_id": mira.id, "name": "Report", "cron_expression": "0 9 * * *", "task_template": { "title": "Write it" },
    });
    let new: CreateSchedule = serde_json::from_value(new).unwrap();
    let schedule = schedules.create(&new).await.unwrap();
    assert_eq!(schedules.get(schedule.id).await.unwrap().id, schedule.id);
    assert_eq!(schedules.run(schedule.id).await.unwrap().title, "Write it");
    let schedule = schedules.get(schedule.id).await.unwrap();
    let change = UpdateSchedule { enabled: Patch::Set(false), ..UpdateSchedule::default() };
    let schedule = schedules.update(schedule.id, schedule.version, &change).await.unwrap();
    let off = ScheduleFilter { enabled: Some(false), ..ScheduleFilter::default() };
    assert_eq!(schedules.list(&off).all().await.unwrap().len(), 1);
    schedules.delete(schedule.id, schedule.version).await.unwrap();

    let settings = client.settings().get().await.unwrap();
    let change = UpdateSettings { display_currency: Patch::Set("EUR".into()), ..UpdateSettings::default() };
    assert_eq!(client.settings().update(settings.version, &change).await.unwrap().display_currency, "EUR");
}

async fn budgets(client: &Client, mira: &Agent) {
    let budgets = client.budgets();
    let new = json!({ "name": "Mira", "scope": "agent", "scope_id": mira.id, "period": "week", "limit_usd": "12.50" });
    let budget = budgets.create(&new).await.unwrap();
    assert_eq!(budgets.get(budget.id).await.unwrap(), budget);
    let filter = BudgetFilter { scope: Some(Scope::Agent), scope_id: budget.scope_id };
    assert_eq!(budgets.list(&filter).all().await.unwrap(), std::slice::from_ref(&budget));
    let status = budgets.status(budget.id).await.unwrap();
    assert_eq!((status.remaining_usd, status.exhausted), (budget.limit_usd, false));
    assert_eq!(budgets.test(budget.id).await.unwrap_err().code(), Some("budget_without_webhook"));
    let budget = budgets.update(budget.id, budget.version, &json!({ "limit_usd": "20" })).await.unwrap();
    budgets.delete(budget.id, budget.version).await.unwrap();
}

async fn access(client: &Client) {
    let me = client.me().await.unwrap();
    assert_eq!((me.tenant.slug.as_str(), me.role), ("acme", MemberRole::Owner));
    let plan = client.plan().await.unwrap();
    assert_eq!((plan.tier.as_str(), plan.limits.max_agents.source), ("enterprise", LimitSource::Plan));
    assert_eq!(client.usage().await.unwrap().agents.limit_name, "max_agents");

    let keys = client.keys();
    let new = CreateApiKey {
        name: "ci".into(),
        scopes: vec!["tasks:read".into()],
        requests_per_minute: Some(600),
        expires_at: None,
    };
    let made = keys.create(&new).await.unwrap();
    assert_eq!(keys.get(made.key.id).await.unwrap().scopes, ["tasks:read"]);
    assert_eq!(keys.list(&()).all().await.unwrap().len(), 2);
    assert!(keys.revoke(made.key.id).await.unwrap().revoked_at.is_some());

    let members = client.members();
    let new = AddMember { subject: "auth0|ada".into(), email: None, role: MemberRole::Admin };
    let ada = members.create(&new).await.unwrap();
    assert_eq!(members.get(ada.id).await.unwrap().role, MemberRole::Admin);
    let change = UpdateMember { version: None, role: Patch::Set(MemberRole::Viewer), email: Patch::Keep };
    let ada = members.update(ada.id, ada.version, &change).await.unwrap();
    let viewers = MemberFilter { role: Some(MemberRole::Viewer), subject: Some("auth0|ada".into()) };
    assert_eq!(members.list(&viewers).all().await.unwrap().len(), 1);
    members.delete(ada.id, ada.version).await.unwrap();
}

async fn prices(client: &Client) {
    let prices = client.prices();
    let listed = prices.list(Some("openai")).page_size(20).all().await.unwrap();
    assert!(listed.len() > 40 && listed.iter().all(|price| price.source == "catalogue"), "{}", listed.len());
    let new = CreatePriceOverride {
        provider: "openai".into(),
        model: "gpt-4o*".into(),
        multiplier: Some("0.85".parse().unwrap()),
        ..CreatePriceOverride::default()
    };
    let own = prices.create_override(&new).await.unwrap();
    assert_eq!(prices.get_override(own.id).await.unwrap(), own);
    assert_eq!(prices.overrides().all().await.unwrap(), std::slice::from_ref(&own));
    assert_eq!(prices.list(Some("openai")).all().await.unwrap()[0].override_id, Some(own.id));
    prices.delete_override(own.id).await.unwrap();
    assert!(prices.overrides().all().await.unwrap().is_empty());
}

async fn provider_calls(client: &Client) {
    let calls = client.provider_calls();
    let new = json!({
        "timestamp": chrono::Utc::now(), "provider": "homemade", "operation": "chat", "model": "m-1", "latency_ms": 7,
        "usage": { "input": 3 }, "cost_usd": "0.25",
    });
    let new: RecordCall = serde_json::from_value(new).unwrap();
    let recorded = calls.record(&new).await.unwrap();
    assert_eq!((recorded.usage.input, recorded.cost_usd), (3, new.cost_usd));
    let broken = RecordCall { provider: String::new(), ..new.clone() };
    let many = calls.record_many(&[new, broken]).await.unwrap();
    assert_eq!((many.succeeded, many.items[1].problem.as_ref().unwrap().code.as_str()), (1, "validation_failed"));
    // what was recorded comes to the database in its own time
    let unpriced =
        ProviderCallFilter { unpriced: Some(true), to: Some(recorded.timestamp), ..ProviderCallFilter::default() };
    assert!(calls.list(&unpriced).all().await.unwrap().is_empty());
    match calls.get(recorded.id).await {
        Ok(found) => assert_eq!(found.call.cost_usd, recorded.cost_usd),
        Err(early) => assert_eq!(early.code(), Some("provider_call_not_found")),
    }
}

async fn secrets(client: &Client, mira: &Agent) {
    let accounts = client.provider_accounts();
    let account =
        accounts.create(&json!({ "provider": "openai", "access_token": "sk-1234567890abcdef" })).await.unwrap();
    assert_eq!(accounts.get(account.id).await.unwrap(), account);
    let filter = AccountFilter { provider: Some("openai".into()), ..AccountFilter::default() };
    assert_eq!(accounts.list(&filter).all().await.unwrap(), std::slice::from_ref(&account));
    let account = accounts.update(account.id, account.version, &json!({ "name": "Production" })).await.unwrap();
    accounts.rotate(account.id, &json!({ "access_token": "sk-abcdef1234567890" })).await.unwrap();
    let account = accounts.revoke(account.id).await.unwrap();
    accounts.delete(account.id, account.version).await.unwrap();
    let unknown = accounts.authorize(&json!({ "provider": "nobody" })).await.unwrap_err();
    assert!(unknown.api().is_some_and(|refusal| refusal.status < 500), "{unknown}");

    let credentials = client.credentials();
    let new = json!({ "name": "crm", "service": "api.example.com", "value": "crm-secret-1" });
    let credential = credentials.create(&new).await.unwrap();
    assert_eq!(credentials.get("crm").await.unwrap(), credential);
    assert_eq!(credentials.list(Some("api.example.com")).all().await.unwrap().len(), 1);
    let request = json!({ "agent_id": mira.id, "path": "/" });
    let request: UseCredential = serde_json::from_value(request).unwrap();
    let refused = credentials.use_for("crm", &request).await.unwrap_err();
    assert_eq!(refused.api().unwrap().status, 403, "the agent is not allowed: {refused}");
    let change = json!({ "value": "crm-secret-2" });
    let credential = credentials.update("crm", credential.version, &change).await.unwrap();
    credentials.delete("crm", credential.version).await.unwrap();
}
