//! Credential proxies: an agent uses a credential by name and never sees its value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::checks::{Checks, Validate};
use crate::keychain::egress::{check_header_name, check_service};
use crate::write_only::WriteOnly;
use crate::{AgentId, CredentialId, Patch};

const MAX_AGENTS: usize = 100;
const MAX_TEMPLATE_CHARS: usize = 200;
const MAX_HEADERS: usize = 50;
const MAX_BODY_BYTES: usize = 512 * 1024;
/// Where the value stands in a template.
pub(crate) const VALUE: &str = "{value}";

/// How the value gets into a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "as", rename_all = "snake_case", deny_unknown_fields)]
pub enum Injection {
    /// As `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// As a header.
    Header {
        /// The header's name.
        #[schema(example = "X-Api-Key")]
        name: String,
        /// The header's value, with `{value}` where the credential's value goes; `{value}` alone unless given.
        #[serde(default = "only_value")]
        #[schema(example = "Token {value}")]
        template: String,
    },
    /// As a parameter of the query.
    Query {
        /// The parameter's name.
        #[schema(example = "key")]
        name: String,
    },
}

fn only_value() -> String {
    VALUE.to_owned()
}

impl Injection {
    fn check(&self, checks: &mut Checks) {
        match self {
            Self::Bearer => {}
            Self::Header { name, template } => {
                if let Err(why) = check_header_name(name) {
                    checks.fail("/injection/name", why);
                }
                if template.matches(VALUE).count() != 1 {
                    checks.fail("/injection/template", "must have `{value}` once");
                } else if template.len() > MAX_TEMPLATE_CHARS
                    || !template.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
                {
                    checks.fail(
                        "/injection/template",
                        format!("must be at most {MAX_TEMPLATE_CHARS} visible ASCII characters"),
                    );
                }
            }
            Self::Query { name } => checks.line("/injection/name", name, 100),
        }
    }
}

/// A credential, without its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// Names the credential for good.
    #[schema(value_type = uuid::Uuid)]
    pub id: CredentialId,
    /// Its name, by which agents use it.
    #[schema(example = "crm")]
    pub name: String,
    /// The only host its value is sent to, with a port if it is not 443.
    #[schema(example = "api.crm.example.com")]
    pub service: String,
    /// How the value gets into a request.
    pub injection: Injection,
    /// The agents that may use it.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub allowed_agents: Vec<AgentId>,
    /// Grows by one with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it got its present value, if not with its creation.
    #[schema(required)]
    pub rotated_at: Option<DateTime<Utc>>,
}

impl crate::Record for Credential {
    const FIELDS: &'static [&'static str] =
        &["id", "name", "service", "injection", "allowed_agents", "version", "created_at", "updated_at", "rotated_at"];
}

/// The body that makes a credential.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "crm", "service": "api.crm.example.com", "value": "crm-…",
    "injection": { "as": "header", "name": "X-Api-Key" }, "allowed_agents": ["0190a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b"]
}))]
pub struct CreateCredential {
    /// 1 to 63 of `a-z`, `0-9`, `_`, `.` and `-`, unique within the company; it cannot be changed.
    #[schema(min_length = 1, max_length = 63, example = "crm")]
    pub name: String,
    /// A public host name, with a port if it is not 443. The value is sent there over HTTPS and nowhere else.
    #[schema(min_length = 1, max_length = 200, example = "api.crm.example.com")]
    pub service: String,
    /// The value. It is never given back.
    pub value: WriteOnly,
    /// `Authorization: Bearer` unless given.
    #[serde(default)]
    pub injection: Injection,
    /// The agents that may use it; nobody unless given.
    #[serde(default)]
    #[schema(value_type = Vec<uuid::Uuid>, max_items = 100)]
    pub allowed_agents: Vec<AgentId>,
}

impl Validate for CreateCredential {
    fn check(&self, checks: &mut Checks) {
        checks.provider("/name", &self.name);
        if let Err(why) = check_service(&self.service) {
            checks.fail("/service", why);
        }
        self.value.check(checks, "/value");
        self.injection.check(checks);
        check_agents(checks, &self.allowed_agents);
    }
}

/// The body that changes a credential: a merge patch.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "value": "crm-new-…" }))]
pub struct UpdateCredential {
    /// The version this change is based on; may come as `If-Match` instead.
    pub version: Option<i64>,
    /// Another host. It needs a `value` as well: nobody may have the present value sent elsewhere.
    #[serde(default)]
    #[schema(value_type = String, required = false, max_length = 200)]
    pub service: Patch<String>,
    /// A new value. It is never given back.
    #[serde(default)]
    #[schema(value_type = WriteOnly, required = false)]
    pub value: Patch<WriteOnly>,
    /// Another way into the request.
    #[serde(default)]
    #[schema(value_type = Injection, required = false)]
    pub injection: Patch<Injection>,
    /// All agents anew; `null` for nobody.
    #[serde(default)]
    #[schema(value_type = Option<Vec<uuid::Uuid>>, max_items = 100)]
    pub allowed_agents: Patch<Vec<AgentId>>,
}

impl UpdateCredential {
    /// The members that the patch names, for the audit trail.
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("service", self.service.is_named()),
            ("value", self.value.is_named()),
            ("injection", self.injection.is_named()),
            ("allowed_agents", self.allowed_agents.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateCredential {
    fn check(&self, checks: &mut Checks) {
        if let Some(service) = checks.required("/service", &self.service) {
            if let Err(why) = check_service(service) {
                checks.fail("/service", why);
            }
            if !self.value.is_named() {
                checks.fail("/value", "must be given with another `service`");
            }
        }
        if let Some(value) = checks.required("/value", &self.value) {
            value.check(checks, "/value");
        }
        if let Some(injection) = checks.required("/injection", &self.injection) {
            injection.check(checks);
        }
        if let Some(agents) = self.allowed_agents.value() {
            check_agents(checks, agents);
        }
    }
}

fn check_agents(checks: &mut Checks, agents: &[AgentId]) {
    if agents.len() > MAX_AGENTS {
        checks.fail("/allowed_agents", format!("must have at most {MAX_AGENTS} items, has {}", agents.len()));
    }
}

/// The methods of a request with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum UseMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// A request that is made with a credential.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "agent_id": "0190a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b", "method": "POST", "path": "/v2/contacts?dry_run=1",
    "headers": { "Accept": "application/json" }, "json": { "name": "Ada" }
}))]
pub struct UseCredential {
    /// The agent that asks; it must be allowed.
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// `GET` unless given.
    #[serde(default = "get")]
    pub method: UseMethod,
    /// Path and query at the service, beginning with `/`.
    #[schema(min_length = 1, max_length = 4096, example = "/v2/contacts")]
    pub path: String,
    /// Further headers. Those of the connection, of proxies and the one of the credential are not taken.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A body as text.
    #[serde(default)]
    pub body: Option<String>,
    /// A body as JSON, in the place of `body`.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub json: Option<Value>,
}

const fn get() -> UseMethod {
    UseMethod::Get
}

impl Validate for UseCredential {
    fn check(&self, checks: &mut Checks) {
        if self.headers.len() > MAX_HEADERS {
            checks.fail("/headers", format!("must have at most {MAX_HEADERS} members, has {}", self.headers.len()));
        }
        for (name, value) in &self.headers {
            let pointer = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
            if let Err(why) = check_header_name(name) {
                checks.fail(&pointer, why);
            } else if !value.bytes().all(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\t')) {
                checks.fail(&pointer, "must be visible ASCII characters");
            }
        }
        if let Err(why) = crate::keychain::egress::check_path(&self.path) {
            checks.fail("/path", why);
        }
        if self.body.is_some() && self.json.is_some() {
            checks.fail("/json", "must not be given with `body`");
        }
        if self.body.as_ref().is_some_and(|body| body.len() > MAX_BODY_BYTES) {
            checks.fail("/body", format!("must have at most {MAX_BODY_BYTES} bytes"));
        }
    }
}

/// What the service answered. The credential's value does not occur in it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAnswer {
    /// The service's status; redirects are not followed.
    #[schema(example = 200)]
    pub status: u16,
    /// The service's headers, without those of the connection.
    pub headers: BTreeMap<String, String>,
    /// The body, in `encoding`.
    pub body: String,
    /// `text`, or `base64` for a body that is not UTF-8.
    #[schema(example = "text")]
    pub encoding: Cow<'static, str>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Error;

    fn pointers<T: Validate + std::fmt::Debug>(body: T) -> Vec<String> {
        match body.validated() {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.into_iter().map(|e| e.pointer).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    fn create(body: Value) -> Vec<String> {
        pointers(serde_json::from_value::<CreateCredential>(body).unwrap())
    }

    #[test]
    fn a_credential_is_a_name_a_service_and_a_value() {
        let good = json!({ "name": "crm", "service": "api.example.com", "value": "hunter2hunter2" });
        assert_eq!(create(good.clone()), Vec::<String>::new());
        let mut bad = good;
        bad["service"] = json!("127.0.0.1");
        bad["injection"] = json!({ "as": "header", "name": "Host", "template": "no place" });
        assert_eq!(create(bad), ["/service", "/injection/name", "/injection/template"]);
    }

    #[test]
    fn another_service_needs_another_value() {
        let patch = |body: Value| pointers(serde_json::from_value::<UpdateCredential>(body).unwrap());
        assert_eq!(patch(json!({ "service": "evil.example.com" })), ["/value"]);
        let both = json!({ "service": "new.example.com", "value": "another-value" });
        assert_eq!(patch(both), Vec::<String>::new());
        assert_eq!(patch(json!({ "value": null, "service": null })), ["/service", "/value"]);
    }

    #[test]
    fn a_request_says_what_and_not_where() {
        let agent = AgentId::generate();
        let check = |body: Value| pointers(serde_json::from_value::<UseCredential>(body).unwrap());
        assert_eq!(check(json!({ "agent_id": agent, "path": "/v1/x?y=1" })), Vec::<String>::new());
        let bad = json!({ "agent_id": agent, "path": "https://evil.example/", "headers": { "Host": "a", "X-A": "b\r\nc" },
            "body": "x", "json": 1 });
        assert_eq!(check(bad), ["/headers/Host", "/headers/X-A", "/path", "/json"]);
    }
}
