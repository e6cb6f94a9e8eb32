use metering::budgets::{Budget, BudgetStatus, Scope, WebhookTest};
use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

use crate::filter::Parameters;
use crate::{Call, Change, Client, Collection, Delete, Filter, Listed, Resource};

/// Budgets: what may be spent in a period.
///
/// Bodies are whatever JSON the caller makes of them: they may hold the secret of a webhook, and the server's types for secrets cannot be
/// written.
#[derive(Debug)]
pub enum Budgets {}

impl Resource for Budgets {
    const PATH: &'static str = "/v1/budgets";
    type Id = Uuid;
    type Record = Budget;
}

impl Listed for Budgets {
    type Filter = BudgetFilter;
    type Order = &'static str;
}

impl Change for Budgets {
    type Change = serde_json::Value;
}

impl Delete for Budgets {}

/// Which budgets a list shows.
#[derive(Debug, Clone, Default)]
pub struct BudgetFilter {
    /// Only those that count whose spending.
    pub scope: Option<Scope>,
    /// Only those of this agent or key.
    pub scope_id: Option<Uuid>,
}

impl Filter for BudgetFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default().one("scope", self.scope.as_ref()).one("scope_id", self.scope_id.as_ref()).into_inner()
    }
}

impl Client {
    /// Budgets.
    #[must_use]
    pub fn budgets(&self) -> Collection<Budgets> {
        Collection::new(self.clone())
    }
}

impl Collection<Budgets> {
    /// Makes one.
    pub fn create(&self, new: &impl Serialize) -> Call<Budget> {
        self.client.call(Method::POST, Budgets::PATH).body(new)
    }

    /// Where one stands in its present period.
    pub fn status(&self, id: Uuid) -> Call<BudgetStatus> {
        self.at(Method::GET, format!("{id}/status"))
    }

    /// Posts a test to the address of one.
    pub fn test(&self, id: Uuid) -> Call<WebhookTest> {
        self.at(Method::POST, format!("{id}/test"))
    }
}
