//! Every operation of the OpenAPI document, tried with the other tenant's credential, names and ids.

mod cases;
mod company;
mod controls;
mod credentials;
mod document;
mod queries;
mod repeated;

use std::time::Duration;

use isolation::server::{Answer, Tenant, TestServer, actor};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use cases::{CASES, Case};
use company::{COMMON_NAME, Company};
use document::{Operation, Plane, operations};

/// Operations that are for everybody. What they answer is checked to hold nothing of a tenant.
const PUBLIC: &[&str] = &["health", "oauth_callback", "ready", "receive_stripe_event"];

fn case_of(operation: &Operation) -> &'static Case {
    CASES.iter().find(|case| case.operation == operation.id).unwrap_or_else(|| {
        panic!(
            "operation `{}` ({} {}) has no isolation test: add a case to tests/isolation/operations/cases.rs",
            operation.id, operation.method, operation.path
        )
    })
}

/// What the gateway passes on, as method and path; `gateway.rs` tries each.
pub(super) fn passages() -> Vec<(Method, String)> {
    of_plane(Plane::Passage).into_iter().map(|operation| (operation.method, operation.path)).collect()
}

fn of_plane(plane: Plane) -> Vec<Operation> {
    operations().into_iter().filter(|operation| operation.plane == plane).collect()
}

#[test]
fn every_operation_has_an_isolation_test() {
    for operation in operations() {
        let below = |prefix: &str| operation.path.starts_with(prefix);
        match operation.plane {
            Plane::Tenant => {
                let case = case_of(&operation);
                assert!(below("/v1/"), "{}: a tenant's operation outside `/v1`", operation.id);
                assert_eq!(operation.takes_body, case.body.is_some(), "{}: the case's body", operation.id);
                assert_eq!(operation.parameters().is_empty(), case.id.is_none(), "{}: the case's id", operation.id);
            }
            Plane::Operator => {
                assert!(below("/admin/v1/"), "{}: an operator's operation outside `/admin/v1`", operation.id);
                operator_path(&operation, "acme", "key");
            }
            // `passages` gives each to the tests of the gateway.
            Plane::Passage => assert!(passages().iter().any(|(_, path)| *path == operation.path), "{}", operation.id),
            Plane::Public => assert!(
                PUBLIC.contains(&operation.id.as_str()) && !below("/v1/") && !below("/admin/"),
                "operation `{}` takes no credential: if that is right, add it to `PUBLIC` in tests/isolation/operations.rs",
                operation.id
            ),
        }
    }
    for case in CASES {
        assert!(operations().iter().any(|o| o.id == case.operation), "{}: no such operation any more", case.operation);
    }
}

impl Case {
    /// The path with a company's ids, and with what it must be asked with.
    fn path(&self, operation: &Operation, of: &Company) -> String {
        self.mixed_path(operation, |_| of)
    }

    /// The path with ids of the companies that `of` names for its parts.
    fn mixed_path<'c>(&self, operation: &Operation, of: impl Fn(&str) -> &'c Company) -> String {
        let first = operation.parameters().first().copied();
        let path = operation.path_with(|name| {
            let pick = if Some(name) == first { self.id.map(|(pick, _)| pick) } else { self.second };
            pick.map(|pick| pick(of(name)).to_string()).unwrap_or_default()
        });
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }
}

/// A request of a case, with the id of one company and the body of another.
async fn call(server: &TestServer, operation: &Operation, by: &Tenant, id: &Company, body: Option<Value>) -> Answer {
    let case = case_of(operation);
    let mut path = case.path(operation, id);
    if let Some(query) = case.queries.and_then(|queries| queries(id).into_iter().next()) {
        path = format!("{path}?{query}");
    }
    let mut request = server.by(by, operation.method.clone(), &path);
    if operation.method == Method::PATCH {
        // the version as it is where the record can be read, and any other where it cannot
        let current = Answer::to(server.by(by, Method::GET, &path)).await;
        request = request.header("if-match", if current.status == 200 { current.header("etag") } else { "\"1\"" });
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::to(request).await
}

#[tokio::test]
async fn the_others_ids_lead_nowhere() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let globex = Company::found(&server, "globex").await;
    for (own, other) in [(&acme, &globex), (&globex, &acme)] {
        let before = other.digests(&server).await;
        for operation in of_plane(Plane::Tenant) {
            let case = case_of(&operation);
            let clean = |answer: &Answer| assert!(!answer.text.contains(&other.mark), "{}: {answer:?}", operation.id);
            if let Some((_, not_found)) = case.id {
                let answer = call(&server, &operation, &own.tenant, other, case.body.map(|body| body(own))).await;
                assert_eq!(answer.verdict(), (404, not_found.to_owned()), "{} with the other's id", operation.id);
                clean(&answer);
            }
            // each part of a path alone with the other's id, beside own ones
            for foreign in operation.parameters().into_iter().filter(|_| case.second.is_some()) {
                let path = case.mixed_path(&operation, |name| if name == foreign { other } else { own });
                let mut request = server.by(&own.tenant, operation.method.clone(), &path);
                if let Some(body) = case.body {
                    request = request.json(&body(own));
                }
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, 404, "{} with the other's {foreign}: {}", operation.id, answer.text);
                clean(&answer);
            }
            for (member, pick, code) in case.references {
                let mut body = case.body.unwrap()(own);
                body[member] = json!(pick(other));
                let answer = call(&server, &operation, &own.tenant, own, Some(body)).await;
                assert_eq!(answer.verdict(), (422, (*code).to_owned()), "{} with the other's {member}", operation.id);
                assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{member}"), "{}", answer.text);
                clean(&answer);
            }
            // the same with its own ids works, so what was refused was refused for the ids
            let answer = call(&server, &operation, &own.tenant, own, case.body.map(|body| body(own))).await;
            assert_eq!(answer.status, case.success, "{} with its own ids: {}", operation.id, answer.text);
            clean(&answer);
        }
        assert_eq!(other.digests(&server).await, before, "the other's tables are as they were");
    }
    names_are_taken_per_company(&server, &acme).await;
}

/// The items of a bulk request are as far from other companies as single requests are.
#[tokio::test]
async fn items_with_the_others_ids_lead_nowhere() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let globex = Company::found(&server, "globex").await;
    let before = globex.digests(&server).await;
    let with = |mut item: Value, changes: Value| {
        item.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        item
    };
    let task = with(acme.new_task(), json!({ "op": "create" }));
    let tasks = [
        (with(task.clone(), json!({ "agent_id": globex.agent })), 422, "unknown_agent"),
        (with(task.clone(), json!({ "created_by_id": globex.agent })), 422, "unknown_agent"),
        (with(task.clone(), json!({ "provider_account_id": globex.account })), 422, "unknown_provider_account"),
        (with(task, json!({ "depends_on": [globex.task] })), 422, "unknown_task"),
        (json!({ "op": "update", "id": globex.task, "version": 1, "title": "x" }), 404, "task_not_found"),
        (
            json!({ "op": "update", "id": acme.spare_task, "version": 1, "agent_id": globex.agent }),
            422,
            "unknown_agent",
        ),
    ];
    let agents = [
        (json!({ "op": "update", "id": globex.agent, "version": 1, "role": "x" }), 404, "agent_not_found"),
        (
            json!({ "op": "update", "id": acme.spare_agent, "version": 1, "current_task_id": globex.task }),
            422,
            "unknown_task",
        ),
    ];
    for (path, items) in [("/v1/tasks/bulk", &tasks[..]), ("/v1/agents/bulk", &agents[..])] {
        let body = json!({ "items": items.iter().map(|(item, _, _)| item).collect::<Vec<_>>() });
        let answer = Answer::to(server.by(&acme.tenant, Method::POST, path).json(&body)).await;
        assert_eq!(answer.status, 207, "{}", answer.text);
        assert!(!answer.text.contains(&globex.mark), "{}", answer.text);
        for (i, (item, status, code)) in items.iter().enumerate() {
            let result = &answer.json()["items"][i];
            assert_eq!((&result["status"], &result["problem"]["code"]), (&json!(status), &json!(code)), "{item}");
        }
    }
    assert_eq!(globex.digests(&server).await, before, "the other's tables are as they were");
}

/// Whether a name is free tells nothing about other companies.
async fn names_are_taken_per_company(server: &TestServer, taken_by: &Company) {
    let third = server.tenant("third").await;
    let mut body = taken_by.new_agent("first");
    for name in [COMMON_NAME.to_owned(), format!("first {}", taken_by.mark)] {
        body["name"] = json!(name);
        let made = Answer::to(server.by(&third, Method::POST, "/v1/agents").json(&body)).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
}

/// What lists show `caller` of the company that has `mark`, with every filter and with cursors and ids of both.
async fn foreign_rows_in_lists(
    lists: &[(Operation, Vec<String>)],
    send: impl AsyncFn(&str) -> Answer,
    mark: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for (operation, queries) in lists {
        for query in queries {
            let answer = send(&format!("{}?{query}", operation.path)).await;
            if answer.status != 200 || answer.text.contains(mark) {
                found.push(format!("{} `{query}`: {} {}", operation.id, answer.status, answer.text));
            }
        }
    }
    found
}

fn lists(own: &Company, other: &Company) -> Vec<(Operation, Vec<String>)> {
    let lists = of_plane(Plane::Tenant).into_iter().filter_map(|operation| {
        let queries = case_of(&operation).queries?;
        // a foreign mark in the query would come back in nothing but a row
        Some((operation, [queries(own), queries(other)].concat()))
    });
    lists.collect()
}

#[tokio::test]
async fn lists_never_hold_the_others_rows() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let globex = Company::found(&server, "globex").await;
    for (own, other) in [(&acme, &globex), (&globex, &acme)] {
        let lists = lists(own, other);
        assert!(lists.iter().map(|(_, queries)| queries.len()).sum::<usize>() > 50, "the filters are all there");
        let send = async |path: &str| Answer::to(server.by(&own.tenant, Method::GET, path)).await;
        assert_eq!(foreign_rows_in_lists(&lists, send, &other.mark).await, Vec::<String>::new());
        for path in [
            "/v1/agents",
            "/v1/tasks",
            "/v1/messages",
            "/v1/activity",
            "/v1/sessions",
            "/v1/schedules",
            "/v1/statements",
        ] {
            let page = Answer::to(server.by(&own.tenant, Method::GET, path)).await;
            assert!(page.text.contains(&own.mark), "its own rows are there: {}", page.text);
            let filters: &[&str] = match path {
                "/v1/agents" | "/v1/statements" => &[],
                "/v1/tasks" => &["agent_id", "created_by_id"],
                "/v1/messages" => &["agent_id", "from_agent_id", "to_agent_id"],
                _ => &["agent_id"],
            };
            for filter in filters {
                let deleted = if path == "/v1/tasks" || path == "/v1/messages" { "&include_deleted=true" } else { "" };
                let path = format!("{path}?{filter}={}{deleted}", other.agent);
                let page = Answer::to(server.by(&own.tenant, Method::GET, &path)).await;
                assert_eq!(page.json()["data"], json!([]), "{filter} of the other");
            }
        }
    }
}

/// A request of a case with all its own parts right, without a credential yet.
fn bare(server: &TestServer, operation: &Operation, of: &Company) -> RequestBuilder {
    let case = case_of(operation);
    let path = case.path(operation, of);
    let request = server.request(operation.method.clone(), &path).header("if-match", "\"1\"");
    match case.body {
        Some(body) => request.json(&body(of)),
        None => request,
    }
}

#[tokio::test]
async fn the_others_name_with_the_own_credential_is_refused_and_recorded() {
    let founder = TestServer::start().await;
    let acme = Company::found(&founder, "acme").await;
    let globex = Company::found(&founder, "globex").await;
    // a server that has served nobody yet, so that its connections tell what the refusals cost
    let server = TestServer::on(founder.database.clone(), |_| {}).await;
    let before = globex.digests(&server).await;
    let host = globex.tenant.custom_host();
    let names = [("x-tenant-slug", globex.tenant.slug.clone()), ("host", globex.tenant.subdomain()), ("host", host)];
    let mut attempts: u64 = 0;
    for operation in of_plane(Plane::Tenant) {
        for (header, name) in &names {
            for of in [&acme, &globex] {
                let request = bare(&server, &operation, of).header("x-api-key", &acme.tenant.key).header(*header, name);
                let answer = Answer::to(request.header("x-request-id", format!("attempt-{attempts}"))).await;
                let expected = (403, "tenant_mismatch".to_owned());
                assert_eq!(answer.verdict(), expected, "{} as {header}: {name}", operation.id);
                assert!(!answer.text.contains(&globex.mark), "{}", answer.text);
                attempts += 1;
            }
        }
        // what waits to be recorded is bounded, and what is beyond that is told in one row
        refusals(&server, attempts).await;
    }
    assert_eq!(server.state.tenancy.counters().cross_tenant_attempts(), attempts);
    assert_eq!(server.state.tenancy.db().stats().opened, 0, "nobody got as far as a connection");
    assert_eq!(globex.digests(&server).await, before);
    let recorded = refusals(&server, attempts).await;
    for (i, row) in recorded.iter().enumerate() {
        assert_eq!(row.slug, "acme", "the tenant whose credential was used");
        assert_eq!((row.action.as_str(), row.client_ip.as_str()), ("access.mismatch", "127.0.0.1"));
        assert_eq!(row.request_id, format!("attempt-{i}"));
        assert_eq!(row.actor_kind, "api_key");
        assert!(row.actor.starts_with("key:") && row.actor == recorded[0].actor, "the key to revoke: {}", row.actor);
        assert!([&globex.tenant.slug, &globex.tenant.custom_host()].contains(&&row.target), "{}", row.target);
    }
}

/// A refusal as the audit table has it.
pub(super) struct Refused {
    pub(super) slug: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) request_id: String,
    pub(super) client_ip: String,
    pub(super) actor_kind: String,
    pub(super) actor: String,
}

/// The recorded refusals, once all are there: they are written in the background.
pub(super) async fn refusals(server: &TestServer, expected: u64) -> Vec<Refused> {
    let admin = server.database.admin().await;
    let sql = "SELECT t.slug, e.action, e.target, e.request_id, e.client_ip, e.actor_kind, e.actor FROM audit.events e \
               LEFT JOIN public.tenants t ON t.id = e.tenant_id \
               WHERE e.action IN ('access.mismatch', 'access.statement_refused') ORDER BY e.id";
    for _ in 0..1000 {
        let rows = admin.query(sql, &[]).await.unwrap();
        if u64::try_from(rows.len()).unwrap() >= expected {
            assert_eq!(u64::try_from(rows.len()).unwrap(), expected, "one row for each refusal");
            let read = |row: &tokio_postgres::Row| Refused {
                slug: row.get(0),
                action: row.get(1),
                target: row.get(2),
                request_id: row.get(3),
                client_ip: row.get(4),
                actor_kind: row.get(5),
                actor: row.get(6),
            };
            return rows.iter().map(read).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the refusals do not reach the audit table");
}

/// The path of an operator's operation on one company's things.
fn operator_path(operation: &Operation, slug: &str, key: &str) -> String {
    operation.path_with(|name| match name {
        "slug" => slug.to_owned(),
        "id" | "key" | "key_id" => key.to_owned(),
        "name" | "tier" => "nobody".to_owned(),
        other => panic!(
            "operation `{}` has a path parameter `{other}` that its isolation test does not know: \
             add it to `operator_path` in tests/isolation/operations.rs",
            operation.id
        ),
    })
}

#[tokio::test]
async fn operators_endpoints_take_operators_only() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let globex = Company::found(&server, "globex").await;
    let before = globex.digests(&server).await;
    let revoked = server.operator("revoked").await;
    server.state.provisioner.revoke_operator("revoked", &actor()).await.unwrap();
    let operator = server.operator("tess").await;
    let refused = [
        ("operator_credential_required", None),
        ("invalid_credential", Some(acme.tenant.key.as_str())),
        ("invalid_credential", Some(globex.tenant.key.as_str())),
        ("invalid_credential", Some(revoked.as_str())),
        ("invalid_credential", Some("top_garbage")),
        ("invalid_credential", Some("hunter2")),
    ];
    for operation in of_plane(Plane::Operator) {
        let path = operator_path(&operation, "globex", &globex.tenant.key_id);
        let send = async |path: &str, credential: Option<&str>| {
            let mut request = server.request(operation.method.clone(), path);
            if let Some(credential) = credential {
                request = request.bearer_auth(credential).header("x-tenant-slug", "globex");
            }
            Answer::to(if operation.takes_body { request.json(&json!({})) } else { request }).await
        };
        for (code, credential) in refused {
            let answer = send(&path, credential).await;
            assert_eq!(answer.verdict(), (401, code.to_owned()), "{}", operation.id);
            assert!(!answer.text.contains(&globex.mark) && !answer.text.contains("globex.example"), "{}", answer.text);
        }
        // one tenant's key under another tenant's path is not found, also by who may see both
        if operation.parameters().contains(&"slug") && operation.parameters().len() > 1 {
            let answer = send(&operator_path(&operation, "acme", &globex.tenant.key_id), Some(&operator)).await;
            assert_eq!(answer.status, 404, "{}: {}", operation.id, answer.text);
        }
    }
    assert_eq!(globex.digests(&server).await, before);
}

#[tokio::test]
async fn what_is_for_everybody_tells_nothing() {
    let server = TestServer::start().await;
    // a company that no example of the document is about
    let hooli = Company::found(&server, "hooli").await;
    let public = of_plane(Plane::Public).into_iter().map(|operation| (operation.method, operation.path));
    let document = (Method::GET, "/openapi.json".to_owned());
    for (method, path) in public.chain([document]) {
        for request in [server.request(method.clone(), &path), server.by(&hooli.tenant, method.clone(), &path)] {
            let answer = Answer::to(request).await;
            // a probe on a machine under load may say that it is not ready; a webhook is not signed, and a provider's answer needs a state
            assert!([200, 503, 400].contains(&answer.status), "{path}: {}", answer.text);
            for secret in [
                &hooli.mark,
                &hooli.tenant.schema,
                &hooli.tenant.key,
                &hooli.tenant.key_id,
                &"hooli.example".to_owned(),
                &server.database.name,
            ] {
                assert!(!answer.text.contains(secret.as_str()), "{path} tells {secret}");
            }
        }
    }
}

#[tokio::test]
async fn paths_that_are_no_operations_reach_nothing() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let id = Uuid::new_v4();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/agents",
        "/v1/agents/",
        "/v1/tenants",
        "/V1/agents",
        "/v1//agents",
        "/admin",
        "/admin/v1/",
        "/metrics",
        "/debug",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = Answer::to(server.by(&acme, method, path)).await;
            assert_eq!(answer.verdict(), (404, "route_not_found".to_owned()), "{path}");
        }
    }
    for method in [Method::PUT, Method::POST, Method::TRACE, Method::from_bytes(b"PURGE").unwrap()] {
        let answer = Answer::to(server.by(&acme, method, &format!("/v1/agents/{id}"))).await;
        assert_eq!(answer.verdict(), (405, "method_not_allowed".to_owned()));
    }
}
