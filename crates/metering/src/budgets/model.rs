//! Budgets as tenants read and write them.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use workforce::{Checks, Patch, Validate, WriteOnly, text_enum};

use super::period::Period;
use super::webhook;
use crate::Usd;

const MAX_NAME: usize = 100;
const MAX_WARNINGS: usize = 10;
const MAX_PERCENT: i32 = 1000;
/// Twelve decimals, and no more dollars than fit with them.
const MAX_USD: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

text_enum! {
    /// Whose spending a budget counts.
    #[schema(as = BudgetScope)]
    pub enum Scope("scope of a budget") {
        /// Everything of the company.
        Tenant = "tenant",
        /// What is spent for one agent.
        Agent = "agent",
        /// What is spent with one API key.
        Key = "key",
    }
}

/// What may be spent in a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// Names the budget for good.
    pub id: Uuid,
    /// What people call it.
    #[schema(example = "Research, monthly")]
    pub name: String,
    /// Whose spending it counts.
    pub scope: Scope,
    /// The agent or the key; null for the company.
    #[schema(required)]
    pub scope_id: Option<Uuid>,
    /// How long the limit is for, by the company's clock.
    pub period: Period,
    /// What may be spent in a period.
    pub limit_usd: Usd,
    /// Whether calls are refused when it is used up. Otherwise it only warns.
    pub hard: bool,
    /// The percents of the limit at which people are warned, each once a period.
    #[schema(example = json!([50, 80, 100]))]
    pub warn_at: Vec<i32>,
    /// Where warnings are posted to.
    #[schema(required, example = "https://hooks.example.com/budgets")]
    pub webhook_url: Option<String>,
    /// Grows by one with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl workforce::Record for Budget {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "scope",
        "scope_id",
        "period",
        "limit_usd",
        "hard",
        "warn_at",
        "webhook_url",
        "version",
        "created_at",
        "updated_at",
    ];
}

/// Where a budget stands in its present period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BudgetStatus {
    /// The budget.
    pub budget_id: Uuid,
    /// The limit.
    pub limit_usd: Usd,
    /// The first day of the period, of the company's clock.
    pub period_start: NaiveDate,
    /// When the period began.
    pub started_at: DateTime<Utc>,
    /// When the next one begins, and all is to be spent anew.
    pub resets_at: DateTime<Utc>,
    /// What recorded calls cost. It counts beyond the limit as well.
    pub spent_usd: Usd,
    /// What servers hold for calls that are under way, or done and not recorded yet.
    pub reserved_usd: Usd,
    /// What is left: the limit less what is spent and reserved, and never below zero.
    pub remaining_usd: Usd,
    /// What is spent, in percent of the limit.
    #[schema(value_type = String, example = "62.5")]
    pub percent: Usd,
    /// Recorded calls without a price. Their cost is not in `spent_usd`.
    pub unpriced_calls: i64,
    /// What will be spent at the end of the period when it goes on like this: what is spent, by the part of the period that is over. Null in
    /// the first twentieth of a period, when it would say nothing.
    #[schema(required)]
    pub forecast_usd: Option<Usd>,
    /// When the limit is reached when it goes on like this; null when it is not in this period, has been already, or there is no forecast.
    #[schema(required)]
    pub runs_out_at: Option<DateTime<Utc>>,
    /// Whether all of it is spent.
    pub exhausted: bool,
}

/// What came of a test of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTest {
    /// The receiver's HTTP status.
    #[schema(example = 204)]
    pub status: u16,
    /// Whether it counts as taken: 200 to 299 does. Redirects are not followed.
    pub delivered: bool,
}

/// The body that makes a budget.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Everything, monthly", "scope": "tenant", "period": "month", "limit_usd": "500", "warn_at": [50, 80, 100] }))]
pub struct CreateBudget {
    /// 1 to 100 characters, unique within the company.
    #[schema(min_length = 1, max_length = 100, example = "Research, monthly")]
    pub name: String,
    /// Whose spending it counts; it cannot be changed.
    pub scope: Scope,
    /// The agent or the key; absent for the company.
    #[serde(default)]
    pub scope_id: Option<Uuid>,
    /// How long the limit is for; it cannot be changed.
    pub period: Period,
    /// What may be spent in a period: US dollars, more than zero, with up to twelve decimals.
    #[schema(value_type = String, pattern = r"^\d{1,10}(\.\d{1,12})?$", example = "12.5")]
    pub limit_usd: Usd,
    /// Whether calls are refused when it is used up; true unless given.
    #[serde(default = "yes")]
    pub hard: bool,
    /// The percents of the limit at which to warn, up to ten of 1 to 1000; 50, 80 and 100 unless given.
    #[serde(default = "usual_warnings")]
    #[schema(max_items = 10, example = json!([50, 80, 100]))]
    pub warn_at: Vec<i32>,
    /// Where warnings are posted to: an `https` address of a public host.
    #[serde(default)]
    #[schema(max_length = 2048, example = "https://hooks.example.com/budgets")]
    pub webhook_url: Option<String>,
    /// What posts are signed with, as of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64. Needed with `webhook_url`, and never given
    /// back.
    #[serde(default, skip_serializing)]
    pub webhook_secret: Option<WriteOnly>,
}

const fn yes() -> bool {
    true
}

fn usual_warnings() -> Vec<i32> {
    vec![50, 80, 100]
}

impl Validate for CreateBudget {
    fn check(&self, checks: &mut Checks) {
        checks.line("/name", &self.name, MAX_NAME);
        match (self.scope, self.scope_id) {
            (Scope::Tenant, Some(_)) => checks.fail("/scope_id", "must not be given for the company as a whole"),
            (Scope::Agent | Scope::Key, None) => checks.fail("/scope_id", "must name the agent or the key"),
            _ => {}
        }
        check_limit(checks, self.limit_usd);
        check_warnings(checks, &self.warn_at);
        if let Some(url) = &self.webhook_url
            && let Err(why) = webhook::Target::parse(url)
        {
            checks.fail("/webhook_url", why);
        }
        check_secret(checks, self.webhook_secret.as_ref());
        match (&self.webhook_url, &self.webhook_secret) {
            (Some(_), None) => checks.fail("/webhook_secret", "must be given with `webhook_url`"),
            (None, Some(_)) => checks.fail("/webhook_url", "must be given with `webhook_secret`"),
            _ => {}
        }
    }
}

/// The body that changes a budget: a merge patch. Scope and period stay: what was spent was counted by them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "limit_usd": "750" }))]
pub struct UpdateBudget {
    /// The version this change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Another name.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100)]
    pub name: Patch<String>,
    /// Another limit. It holds on all servers within a second.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, pattern = r"^\d{1,10}(\.\d{1,12})?$", example = "12.5")]
    pub limit_usd: Patch<Usd>,
    /// Whether calls are refused when it is used up.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = bool, required = false)]
    pub hard: Patch<bool>,
    /// All warnings anew.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Vec<i32>, required = false, max_items = 10)]
    pub warn_at: Patch<Vec<i32>>,
    /// Another address, with its `webhook_secret`: nobody may have posts signed with the present one sent elsewhere. `null` for none.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    pub webhook_url: Patch<String>,
    /// Another secret. It is never given back.
    #[serde(default, skip_serializing)]
    #[schema(value_type = WriteOnly, required = false)]
    pub webhook_secret: Patch<WriteOnly>,
}

impl UpdateBudget {
    /// The members that the patch names, for the audit trail.
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("name", self.name.is_named()),
            ("limit_usd", self.limit_usd.is_named()),
            ("hard", self.hard.is_named()),
            ("warn_at", self.warn_at.is_named()),
            ("webhook_url", self.webhook_url.is_named()),
            ("webhook_secret", self.webhook_secret.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateBudget {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = checks.required("/name", &self.name) {
            checks.line("/name", name, MAX_NAME);
        }
        if let Some(limit) = checks.required("/limit_usd", &self.limit_usd) {
            check_limit(checks, *limit);
        }
        checks.required("/hard", &self.hard);
        if let Some(warnings) = checks.required("/warn_at", &self.warn_at) {
            check_warnings(checks, warnings);
        }
        check_secret(checks, self.webhook_secret.value());
        match (&self.webhook_url, &self.webhook_secret) {
            (_, Patch::Clear) => checks.fail("/webhook_secret", "must not be null: it goes with `webhook_url`"),
            (Patch::Clear, Patch::Set(_)) => checks.fail("/webhook_secret", "must not be given without `webhook_url`"),
            (Patch::Set(_), Patch::Keep) => checks.fail("/webhook_secret", "must be given with another `webhook_url`"),
            _ => {}
        }
        if let Some(url) = self.webhook_url.value()
            && let Err(why) = webhook::Target::parse(url)
        {
            checks.fail("/webhook_url", why);
        }
    }
}

fn check_limit(checks: &mut Checks, limit: Usd) {
    if limit.0 <= Decimal::ZERO || limit.0 > MAX_USD || limit.0.normalize().scale() > 12 {
        checks.fail("/limit_usd", format!("must be more than 0 and at most {MAX_USD}, with up to twelve decimals"));
    }
}

fn check_warnings(checks: &mut Checks, warnings: &[i32]) {
    let fine = warnings.iter().all(|percent| (1..=MAX_PERCENT).contains(percent));
    let once = warnings.iter().collect::<std::collections::HashSet<_>>().len() == warnings.len();
    if warnings.len() > MAX_WARNINGS || !fine || !once {
        checks.fail("/warn_at", format!("must be up to {MAX_WARNINGS} different percents of 1 to {MAX_PERCENT}"));
    }
}

fn check_secret(checks: &mut Checks, secret: Option<&WriteOnly>) {
    if let Some(secret) = secret
        && let Err(why) = webhook::check_secret(secret.secret().expose_secret())
    {
        checks.fail("/webhook_secret", why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use workforce::Error;

    use super::*;

    fn wrong<T: Validate + std::fmt::Debug>(body: T) -> Vec<String> {
        match body.validated() {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.into_iter().map(|e| e.pointer).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    fn create(changes: &Value) -> Vec<String> {
        let mut body = json!({ "name": "All", "scope": "tenant", "period": "month", "limit_usd": "10" });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        wrong(serde_json::from_value::<CreateBudget>(body).unwrap())
    }

    #[test]
    fn a_budget_has_a_scope_a_limit_and_a_secret_for_its_address() {
        const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let none = Vec::<String>::new();
        assert_eq!(create(&json!({})), none);
        assert_eq!(create(&json!({ "scope": "agent" })), ["/scope_id"]);
        assert_eq!(create(&json!({ "scope_id": Uuid::nil() })), ["/scope_id"]);
        assert_eq!(create(&json!({ "limit_usd": "0" })), ["/limit_usd"]);
        assert_eq!(create(&json!({ "limit_usd": "-1" })), ["/limit_usd"]);
        assert_eq!(create(&json!({ "limit_usd": "0.0000000000001" })), ["/limit_usd"]);
        assert_eq!(create(&json!({ "limit_usd": "1.0000000000000" })), none);
        assert_eq!(create(&json!({ "warn_at": [50, 50] })), ["/warn_at"]);
        assert_eq!(create(&json!({ "warn_at": [0] })), ["/warn_at"]);
        assert_eq!(create(&json!({ "warn_at": [] })), none);
        let url = "https://hooks.example.com/x?y=1";
        assert_eq!(create(&json!({ "webhook_url": url })), ["/webhook_secret"]);
        assert_eq!(create(&json!({ "webhook_secret": SECRET })), ["/webhook_url"]);
        assert_eq!(create(&json!({ "webhook_url": url, "webhook_secret": "hunter2" })), ["/webhook_secret"]);
        assert_eq!(create(&json!({ "webhook_url": "http://10.0.0.1/", "webhook_secret": SECRET })), ["/webhook_url"]);
        assert_eq!(create(&json!({ "webhook_url": url, "webhook_secret": SECRET })), none);
        let patch = |body: Value| wrong(serde_json::from_value::<UpdateBudget>(body).unwrap());
        assert_eq!(patch(json!({ "webhook_url": url })), ["/webhook_secret"]);
        assert_eq!(patch(json!({ "webhook_url": null })), none);
        assert_eq!(patch(json!({ "limit_usd": null, "hard": null })), ["/limit_usd", "/hard"]);
    }
}
