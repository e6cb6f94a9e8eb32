//! One company and what its developer sends.

use isolation::server::{Answer, Tenant, TestServer};
use reqwest::Method;
use serde_json::{Value, json};

/// A server with one tenant on it.
pub(crate) struct Company {
    pub(crate) server: TestServer,
    pub(crate) tenant: Tenant,
}

impl Company {
    pub(crate) async fn open() -> Self {
        let server = TestServer::start().await;
        let tenant = server.tenant("acme").await;
        Self { server, tenant }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::POST, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::PATCH, path).json(&body)).await
    }

    /// A change with `If-Match`.
    pub(crate) async fn patch_if(&self, path: &str, tag: &str, body: Value) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::PATCH, path).header("if-match", tag).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::DELETE, path)).await
    }

    pub(crate) async fn delete_if(&self, path: &str, tag: &str) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::DELETE, path).header("if-match", tag)).await
    }

    /// Sends a body as it is.
    pub(crate) async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.server.by(&self.tenant, Method::POST, path).header("content-type", "application/json");
        Answer::to(request.body(body)).await
    }

    /// Makes a record and gives it as the server does.
    pub(crate) async fn make(&self, path: &str, body: Value) -> Value {
        let made = self.post(path, body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()
    }

    pub(crate) async fn agent(&self, name: &str) -> Value {
        self.make("/v1/agents", json!({ "name": name, "role": "support" })).await
    }

    pub(crate) async fn task(&self, agent: &Value, title: &str) -> Value {
        self.make("/v1/tasks", json!({ "agent_id": agent["id"], "title": title })).await
    }

    /// All rows of a list, page by page; fails where a page is longer than asked for.
    pub(crate) async fn walk(&self, path: &str, limit: usize) -> Vec<Value> {
        let glue = if path.contains('?') { '&' } else { '?' };
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{glue}limit={limit}{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            rows.extend(data.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// The audit events of a target, oldest first: action and details.
    pub(crate) async fn events(&self, target: &str) -> Vec<(String, Value)> {
        let sql = "SELECT e.action, e.details FROM audit.events e JOIN public.tenants t ON t.id = e.tenant_id \
                   WHERE e.target = $1 AND e.actor_kind = 'api_key' ORDER BY e.id";
        let rows = self.server.database.admin().await.query(sql, &[&target]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// The address of a record.
pub(crate) fn at(list: &str, record: &Value) -> String {
    format!("/v1/{list}/{}", record["id"].as_str().unwrap())
}

/// A refusal that points to members of the body, in their order.
pub(crate) fn pointers(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["pointer"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Status and code, for comparison with [`Answer::verdict`].
pub(crate) fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The column of the rows that tells them apart.
pub(crate) fn column(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].as_str().unwrap_or_default().to_owned()).collect()
}
