mod cost;
mod files;
mod properties;

use rust_decimal::Decimal;

use super::*;

/// A catalogue that stands alone.
fn prices(text: &str) -> Prices {
    agreed(text, Vec::new())
}

fn agreed(text: &str, agreed: Vec<StoredOverride>) -> Prices {
    let text = format!("format = 1\nreplaces = true\n{text}");
    Prices::with(&Catalogue::parse(&text).unwrap(), agreed)
}

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n))
}

fn query<'a>(provider: &'a str, model: &'a str, tier: Option<&'a str>, at: &str) -> PriceQuery<'a> {
    PriceQuery { tenant: tenant(1), account: None, provider, model, service_tier: tier, at: moment(at) }
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse::<Moment>().unwrap().0
}

fn usd(text: &str) -> Option<Decimal> {
    Some(text.parse().unwrap())
}

/// A model with rates and whatever else, since 2020.
fn model(name: &str, more: &str) -> String {
    format!(
        "[[provider.model]]\nname = \"{name}\"\nclass = \"c\"\n[[provider.model.price]]\nfrom = \"2020-01-01\"\nsource = \"s\"\n\
         checked = \"2026-01-01\"\n{more}\n"
    )
}

fn provider(models: &str) -> String {
    format!("[[provider]]\nname = \"p\"\n{models}")
}
