//! The columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification), as far as they have a meaning here; columns that begin with
//! `x_` are our own, as the specification allows.
//!
//! Nobody has sent an invoice for these calls yet, so the four costs are the same. Where the specification wants a cost of every line and
//! nobody knows it, the columns are empty: zero would be a lie. `x_UnpricedCalls` finds these lines.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;
use tenantry_core::calendar::{Tz, midnight};

use super::csv::{instant, plain, safe, write};
use crate::Usd;
use crate::insight::{Period, after};
use crate::store::analytics::calls::CallRow;
use crate::store::analytics::sums::Line;

/// The columns.
const NAMES: [&str; 38] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountType",
    "Tags",
    "x_CallId",
    "x_Calls",
    "x_CostSource",
    "x_UnpricedCalls",
];

/// Who pays.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) zone: Tz,
}

/// A charge, before it is a line.
struct Charge<'a> {
    cost: Option<Usd>,
    adjustment: bool,
    day: NaiveDate,
    /// From when until when; the end is not part of it.
    period: (DateTime<Utc>, DateTime<Utc>),
    provider: &'a str,
    model: &'a str,
    operation: &'a str,
    tokens: i64,
    agent: Option<uuid::Uuid>,
    account: Option<uuid::Uuid>,
    price: Option<&'a str>,
    tags: serde_json::Value,
    call: Option<uuid::Uuid>,
    calls: i64,
    cost_source: Option<&'a str>,
    unpriced: i64,
}

fn record<'a>(charge: &Charge<'_>, account: &Account) -> [Cow<'a, str>; 38] {
    let text = |text: &str| Cow::<'a, str>::Owned(safe(text).into_owned());
    let month = Period::month_of(charge.day, account.zone);
    let cost = plain(charge.cost);
    let (category, class) = if charge.adjustment { ("Adjustment", "Correction") } else { ("Usage", "") };
    let quantity = if charge.adjustment { plain(None::<i64>) } else { plain(Some(charge.tokens)) };
    let unit = if charge.adjustment { "" } else { "Tokens" };
    let what = if charge.adjustment { "adjustment of" } else { "use of" };
    [
        cost.clone(),
        text(&account.id),
        text(&account.name),
        "Tenant".into(),
        "USD".into(),
        instant(month.ends_at()).into(),
        instant(month.starts_at()).into(),
        category.into(),
        class.into(),
        text(&format!("{what} {} {} ({})", charge.provider, charge.model, charge.operation)),
        "Usage-Based".into(),
        instant(charge.period.1).into(),
        instant(charge.period.0).into(),
        quantity.clone(),
        unit.into(),
        cost.clone(),
        cost.clone(),
        text(charge.provider),
        cost,
        if charge.adjustment { "".into() } else { "Standard".into() },
        quantity,
        unit.into(),
        text(charge.provider),
        text(charge.provider),
        plain(charge.account),
        "AI and Machine Learning".into(),
        text(charge.operation),
        "Generative AI".into(),
        text(charge.model),
        if charge.adjustment { "".into() } else { "Tokens".into() },
        charge.price.map_or(Cow::Borrowed(""), text),
        plain(charge.agent),
        if charge.agent.is_some() { "Agent".into() } else { "".into() },
        charge.tags.to_string().into(),
        plain(charge.call),
        plain(Some(charge.calls)),
        charge.cost_source.map_or(Cow::Borrowed(""), text),
        plain(Some(charge.unpriced)),
    ]
}

/// What is not empty, as tags.
fn tags(pairs: [(&str, Option<String>); 4]) -> serde_json::Value {
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    serde_json::Value::Object(pairs.collect())
}

/// Calls and adjustments, each a charge of the hour that it is in.
pub(super) fn calls(rows: &[CallRow], account: &Account, names: bool) -> Vec<u8> {
    let charge = |row: &CallRow| {
        let adjustment = row.kind != "call";
        let charge = Charge {
            cost: row.cost_usd,
            adjustment,
            day: row.day,
            period: (row.hour, row.hour + chrono::TimeDelta::hours(1)),
            provider: &row.provider,
            model: &row.model,
            operation: &row.operation,
            tokens: row.tokens_input + row.tokens_output,
            agent: row.agent_id,
            account: row.provider_account_id,
            price: row.price_version.as_deref(),
            tags: tags([
                ("task_type", row.task_type.clone()),
                ("task_id", row.task_id.map(|id| id.to_string())),
                ("api_key_id", row.api_key_id.map(|id| id.to_string())),
                ("client_reference", row.client_reference.clone()),
            ]),
            call: Some(row.id),
            calls: i64::from(!adjustment),
            cost_source: Some(&row.cost_source),
            unpriced: i64::from(!adjustment && row.cost_usd.is_none()),
        };
        record(&charge, account)
    };
    write(names.then_some(&NAMES[..]), rows.iter().map(charge))
}

/// Days: what calls cost and what adjustments changed are charges of their own.
pub(super) fn lines(rows: &[Line], account: &Account, names: bool) -> Vec<u8> {
    let charges = |row: &Line| {
        let sums = row.measures;
        let of = |cost: Usd, adjustment: bool| {
            let charge = Charge {
                // of calls that are all unpriced nobody knows the cost
                cost: (adjustment || sums.calls == 0 || sums.unpriced_calls < sums.calls).then_some(cost),
                adjustment,
                day: row.day,
                period: (midnight(row.day, account.zone), midnight(after(row.day, 1), account.zone)),
                provider: &row.provider,
                model: &row.model,
                operation: &row.operation,
                tokens: sums.tokens.input + sums.tokens.output,
                agent: row.agent_id,
                account: row.provider_account_id,
                price: None,
                tags: tags([
                    ("task_type", row.task_type.clone()),
                    ("api_key_id", row.api_key_id.map(|id| id.to_string())),
                    ("", None),
                    ("", None),
                ]),
                call: None,
                calls: if adjustment { 0 } else { sums.calls },
                cost_source: None,
                unpriced: if adjustment { 0 } else { sums.unpriced_calls },
            };
            record(&charge, account)
        };
        let used = (sums.calls != 0 || sums.cost_usd != sums.adjustments_usd)
            .then(|| of(sums.cost_usd - sums.adjustments_usd, false));
        let adjusted = (sums.adjustments_usd != Usd::ZERO).then(|| of(sums.adjustments_usd, true));
        used.into_iter().chain(adjusted).collect::<Vec<_>>()
    };
    write(names.then_some(&NAMES[..]), rows.iter().flat_map(charges))
}
