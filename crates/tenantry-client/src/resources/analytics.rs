use chrono::NaiveDate;
use metering::api::analytics::{
    CostSummary, Explanation, ProviderComparison, RoiAnswer, RoiRequest, Savings, TaskTypes, Trends, UsageSeries,
    WhatIf,
};
use metering::insight::RoiCalculation;
use reqwest::Method;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::filter::Parameters;
use crate::{Call, Client, Download, Filter};

const PATH: &str = "/v1/analytics";

/// Which calls a question is about. Without days it is this month, of the company's time zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallsOf {
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only of this model.
    pub model: Option<String>,
    /// Only of this agent.
    pub agent_id: Option<Uuid>,
    /// Only with this key.
    pub api_key_id: Option<Uuid>,
    /// Only of this operation.
    pub operation: Option<String>,
    /// Only for this kind of work.
    pub task_type: Option<String>,
}

impl Filter for CallsOf {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .one("from", self.from.as_ref())
            .one("to", self.to.as_ref())
            .one("provider", self.provider.as_ref())
            .one("model", self.model.as_ref())
            .one("agent_id", self.agent_id.as_ref())
            .one("api_key_id", self.api_key_id.as_ref())
            .one("operation", self.operation.as_ref())
            .one("task_type", self.task_type.as_ref())
            .into_inner()
    }
}

/// What was spent, on what, and why. Parameters of single questions, such as `group_by`, are added with [`Call::query`].
#[derive(Debug)]
pub struct Analytics {
    client: Client,
}

impl Client {
    /// What was spent, on what, and why.
    #[must_use]
    pub fn analytics(&self) -> Analytics {
        Analytics { client: self.clone() }
    }
}

impl Analytics {
    fn ask<R: DeserializeOwned>(&self, question: &str, of: &CallsOf) -> Call<R> {
        let call = self.client.call(Method::GET, format!("{PATH}/{question}"));
        of.parameters().into_iter().fold(call, |call, (name, value)| call.query(name, value))
    }

    /// What was spent, by provider, model and agent, with a forecast and the period before.
    pub fn cost_summary(&self, of: &CallsOf) -> Call<CostSummary> {
        self.ask("cost-summary", of)
    }

    /// Sums in steps of time; parameters `interval`, `group_by`, `limit`.
    pub fn usage(&self, of: &CallsOf) -> Call<UsageSeries> {
        self.ask("usage", of)
    }

    /// Providers, or their models (`by=model`), side by side.
    pub fn providers(&self, of: &CallsOf) -> Call<ProviderComparison> {
        self.ask("providers", of)
    }

    /// Costs by day, where they lead, and days that stand out.
    pub fn trends(&self, of: &CallsOf) -> Call<Trends> {
        self.ask("trends", of)
    }

    /// Kinds of work, what they cost and what came of them.
    pub fn task_types(&self, of: &CallsOf) -> Call<TaskTypes> {
        self.ask("task-types", of)
    }

    /// Savings against two baselines; parameter `group_by`.
    pub fn savings(&self, of: &CallsOf) -> Call<Savings> {
        self.ask("savings", of)
    }

    /// The return of a period, and stored calculations; parameters `limit`, `cursor`.
    pub fn roi(&self, of: &CallsOf) -> Call<RoiAnswer> {
        self.ask("roi", of)
    }

    /// Calculates the return of a period and stores it.
    pub fn store_roi(&self, period: &RoiRequest) -> Call<RoiCalculation> {
        self.client.call(Method::POST, format!("{PATH}/roi")).body(period)
    }

    /// What the calls would have cost on another model.
    pub fn what_if(&self, of: &CallsOf, to_provider: &str, to_model: &str) -> Call<WhatIf> {
        self.ask("what-if", of).query("to_provider", to_provider).query("to_model", to_model)
    }

    /// Calls, or their sums by day, as a file; parameters `format` (`csv`, `jsonl`, `focus`) and `rows` (`calls`, `days`).
    pub fn export(&self, of: &CallsOf) -> Download {
        let export = self.client.download(format!("{PATH}/export"));
        of.parameters().into_iter().fold(export, |export, (name, value)| export.query(name, value))
    }

    /// Why costs changed; parameters `base_from`, `base_to`, without which it is the period before.
    pub fn explain(&self, of: &CallsOf) -> Call<Explanation> {
        self.ask("explain", of)
    }
}
