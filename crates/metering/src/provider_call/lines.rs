use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use workforce::text_enum;

use crate::usage::Usage;

text_enum! {
    /// What a rate is for.
    pub enum Per("measure of a rate") {
        /// A million tokens.
        MillionTokens = "million_tokens",
        /// One unit.
        Unit = "unit",
        /// The call.
        Call = "call",
        /// A factor, on what the tokens cost.
        Tokens = "tokens",
    }
}

/// A part of what a call costs: a count by a rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostLine {
    /// A bucket of `usage`, a unit, `per_call`, or `multiplier`.
    pub what: String,
    /// How many.
    pub count: u64,
    /// The rate that was frozen with the call, in US dollars; of a multiplier, the factor.
    #[schema(value_type = String, example = "2.50")]
    #[serde(with = "rust_decimal::serde::str")]
    pub rate: Decimal,
    /// What the rate is for.
    pub per: Per,
    /// What it comes to, in US dollars; of a multiplier, what it adds.
    #[schema(value_type = String, example = "0.0025")]
    #[serde(with = "rust_decimal::serde::str")]
    pub usd: Decimal,
}

/// What a call costs, part by part: they add up to its cost. Nothing without frozen rates.
pub(crate) fn lines(usage: &Usage, rates: &Value, cost_usd: Decimal) -> Vec<CostLine> {
    let buckets = [
        ("input", usage.input),
        ("cache_read", usage.cache_read),
        ("cache_write", usage.cache_write),
        ("cache_write_1h", usage.cache_write_1h),
        ("audio_input", usage.audio_input),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
        ("audio_output", usage.audio_output),
    ];
    let rate = |value: Option<&Value>| value.and_then(Value::as_str).and_then(|text| text.parse::<Decimal>().ok());
    let line = |what: &str, count: u64, rate: Decimal, per: Per| {
        let divisor = if per == Per::MillionTokens { Decimal::from(1_000_000) } else { Decimal::ONE };
        let usd = (Decimal::from(count) * rate / divisor).normalize();
        CostLine { what: what.to_owned(), count, rate: rate.normalize(), per, usd }
    };
    let tokens = buckets.into_iter().filter(|(_, count)| *count > 0);
    let tokens = tokens.filter_map(|(name, count)| Some(line(name, count, rate(rates.get(name))?, Per::MillionTokens)));
    let units = usage.units.iter().filter(|(_, count)| **count > 0);
    let units = units.filter_map(|(name, count)| {
        let of_one = rate(rates.get("units").and_then(|units| units.get(name)))?;
        Some(line(name, *count, of_one, Per::Unit))
    });
    let per_call = rate(rates.get("per_call")).map(|rate| line("per_call", 1, rate, Per::Call));
    let mut lines: Vec<CostLine> = tokens.chain(units).chain(per_call).collect();
    if let Some(factor) = rate(rates.get("multiplier")) {
        let so_far: Decimal = lines.iter().map(|line| line.usd).sum();
        let usd = (cost_usd - so_far).normalize();
        lines.push(CostLine { what: "multiplier".to_owned(), count: 1, rate: factor, per: Per::Tokens, usd });
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lines_add_up() {
        let mut usage = Usage { input: 1000, cache_read: 3, output: 7, ..Usage::default() };
        usage.add_units("web_search", 2);
        let rates = json!({
            "input": "3", "cache_read": "0.3", "output": "15", "reasoning": "15", "per_call": "0.001", "units": { "web_search": "0.01" },
        });
        let plain = lines(&usage, &rates, Decimal::ZERO);
        let shown: Vec<String> =
            plain.iter().map(|line| format!("{} {} {}", line.what, line.count, line.usd)).collect();
        let expected = [
            "input 1000 0.003",
            "cache_read 3 0.0000009",
            "output 7 0.000105",
            "web_search 2 0.02",
            "per_call 1 0.001",
        ];
        assert_eq!(shown, expected);

        let mut rates = rates;
        rates["multiplier"] = json!("1.1");
        let cost = Decimal::from_str_exact("0.02441649").unwrap();
        let multiplied = lines(&usage, &rates, cost);
        assert_eq!(multiplied.iter().map(|line| line.usd).sum::<Decimal>(), cost);
        assert!(lines(&usage, &Value::Null, cost).is_empty());
    }
}
