//! Which role may do what: every operation of the document is tried with every role on a real server, what happens is compared
//! with the tables, and `docs/permissions.md` shows it.

use std::fmt::Write as _;
use std::path::PathBuf;

use isolation::server::{TestServer, actor};
use isolation::tokens;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry_core::{OperatorRole, Role};
use tenantry_postgres::{NewKey, NewMember};

/// The scope of the narrow key.
const SCOPE: &str = "agents:read";

struct Operation {
    method: Method,
    path: String,
    takes_body: bool,
    /// `operator`, or `api_key` and `bearer`.
    operators: bool,
}

/// Everything that needs a credential.
fn operations() -> Vec<Operation> {
    let document = tenantry::openapi();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let security = operation["security"].as_array().unwrap();
            let schemes: Vec<&String> = security.iter().flat_map(|s| s.as_object().unwrap().keys()).collect();
            if schemes.is_empty() {
                continue;
            }
            found.push(Operation {
                method,
                path: path.clone(),
                takes_body: operation.get("requestBody").is_some(),
                operators: schemes.iter().any(|scheme| *scheme == "operator"),
            });
        }
    }
    found
}

/// Whether a credential gets past the permission. What the operation then says about a request that names nothing and holds
/// nothing does not matter.
async fn passes(server: &TestServer, operation: &Operation, credential: &str) -> bool {
    let mut path = operation.path.clone();
    while let Some((before, rest)) = path.split_once('{') {
        let (name, after) = rest.split_once('}').unwrap();
        let filler = if name.ends_with("id") { "00000000-0000-0000-0000-000000000000" } else { "nobody" };
        path = format!("{before}{filler}{after}");
    }
    let mut request = server.request(operation.method.clone(), &path).bearer_auth(credential);
    if operation.takes_body {
        request = request.json(&json!({}));
    }
    // A stream of events has no end, so only refusals are read.
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_ne!(status, 401, "{} {}: the credential is good", operation.method, operation.path);
    if status != 403 {
        return true;
    }
    let problem: Value = response.json().await.unwrap();
    // The gateway writes errors as the API that was called does.
    let error = problem.get("error").filter(|error| error.is_object()).unwrap_or(&problem);
    let code = error["code"].as_str().or_else(|| error["message"].as_str()?.split(':').next());
    assert_eq!(code, Some("permission_denied"), "{} {}: {problem}", operation.method, operation.path);
    false
}

/// The credentials of each column, by their titles.
async fn tenants_credentials(server: &TestServer) -> Vec<(String, String)> {
    let acme = server.tenant("acme").await;
    let provisioner = &server.state.provisioner;
    let mut credentials = Vec::new();
    for role in Role::ALL {
        let new = NewMember { subject: format!("a {role}"), email: None, role };
        provisioner.add_member("acme", &new, &actor()).await.unwrap();
        credentials.push((role.to_string(), tokens::token("acme", &new.subject)));
    }
    let narrow =
        provisioner.create_key("acme", &NewKey::named("narrow").scoped(&[SCOPE.to_owned()]), &actor()).await.unwrap();
    credentials.push((format!("key `{SCOPE}`"), narrow.token.expose_secret().to_owned()));
    credentials.push(("key".to_owned(), acme.key));
    credentials
}

async fn operators_credentials(server: &TestServer) -> Vec<(String, String)> {
    let mut credentials = Vec::new();
    for role in OperatorRole::ALL {
        let made = server.state.provisioner.issue_operator(role.as_str(), role, None, &actor()).await.unwrap();
        credentials.push((role.to_string(), made.token.expose_secret().to_owned()));
    }
    credentials
}

/// What the tables say.
fn expected(operation: &Operation, column: &str) -> bool {
    if operation.operators {
        let least = tenantry::least_role(&operation.method, &operation.path);
        return least.is_some_and(|least| column.parse::<OperatorRole>().unwrap() >= least);
    }
    let Some(permission) = workforce::PERMISSIONS.of(&operation.method, &operation.path) else { return false };
    match column.parse::<Role>() {
        Ok(role) => role >= permission.role,
        Err(_) => column == "key" || permission.name == SCOPE || permission.name == "me:read",
    }
}

fn mark(passes: bool) -> &'static str {
    if passes { "yes" } else { "–" }
}

async fn table(server: &TestServer, page: &mut String, operators: bool, credentials: &[(String, String)]) {
    let titles: Vec<&str> = credentials.iter().map(|(title, _)| title.as_str()).collect();
    let (needs, rule) = if operators { ("", "") } else { (" permission |", "---|") };
    writeln!(page, "| operation |{needs} {} |", titles.join(" | ")).unwrap();
    writeln!(page, "|---|{rule}{}", ":-:|".repeat(titles.len())).unwrap();
    for operation in operations().into_iter().filter(|operation| operation.operators == operators) {
        let Operation { method, path, .. } = &operation;
        write!(page, "| `{method} {path}` |").unwrap();
        if !operators {
            let permission = workforce::PERMISSIONS.of(method, path);
            let permission =
                permission.unwrap_or_else(|| panic!("{method} {path} needs a row in `PERMISSIONS` of crate workforce"));
            write!(page, " `{}` |", permission.name).unwrap();
        }
        for (column, credential) in credentials {
            let observed = passes(server, &operation, credential).await;
            assert_eq!(observed, expected(&operation, column), "{method} {path} as {column}");
            write!(page, " {} |", mark(observed)).unwrap();
        }
        page.push('\n');
    }
}

#[tokio::test]
async fn every_role_can_do_what_the_tables_say_and_the_page_shows_it() {
    let server = TestServer::with(|settings| settings.http.jwt = Some(tokens::accepting())).await;
    let mut page = String::from(
        "# Who may do what\n\nA test tries every operation of the OpenAPI document with each of these credentials on a running server and \
         writes this page (`make docs`). `yes`: the operation is done, as far as the request itself is right; `–`: \
         403 `permission_denied`.\n\n## Tenants' operations\n\nThe roles are those of members, whose tokens come from the identity \
         provider. A key has everything that its scopes leave it; one without scopes has everything. Beyond this table, nobody gives \
         another one more than they have: neither a key nor a role.\n\n",
    );
    table(&server, &mut page, false, &tenants_credentials(&server).await).await;
    page.push_str("\n## Operators' operations\n\nThe roles are those of operators' tokens.\n\n");
    table(&server, &mut page, true, &operators_credentials(&server).await).await;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/permissions.md");
    if std::env::var_os("TENANTRY_UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/permissions.md is not what the server does: `make docs` writes it anew");
}
