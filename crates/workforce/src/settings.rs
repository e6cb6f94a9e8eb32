//! What a company decides about itself. It is kept in the registry, where every server has it at hand with each context:
//! `context.tenant().time_zone`. Which day or month an instant lies in says [`tenantry_core::calendar`].

use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{SettingsChange, TenantSettings};
use utoipa::ToSchema;

use crate::checks::{Checks, Validate};
use crate::{Patch, schedule};

/// The company's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Where its days and months begin: in quotas, in reports, and for schedules that name no zone of their own.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// The currency that amounts are shown in (ISO 4217). It converts nothing that is stored.
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    pub display_currency: String,
    /// Grows by one with every change; an update names the version it is based on.
    pub version: i64,
}

impl From<TenantSettings> for Settings {
    fn from(stored: TenantSettings) -> Self {
        Self {
            time_zone: stored.time_zone.name().to_owned(),
            display_currency: stored.display_currency,
            version: stored.version,
        }
    }
}

/// The body that changes settings: a merge patch. Absent members stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "time_zone": "Europe/Berlin", "display_currency": "EUR" }))]
pub struct UpdateSettings {
    /// The version this change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// A name of the IANA database. Schedules keep the zone that they were made with.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, example = "Europe/Berlin")]
    pub time_zone: Patch<String>,
    /// A code of ISO 4217.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, example = "EUR")]
    pub display_currency: Patch<String>,
}

impl Validate for UpdateSettings {
    fn check(&self, checks: &mut Checks) {
        if let Some(zone) = checks.required("/time_zone", &self.time_zone) {
            schedule::check_zone(checks, "/time_zone", zone);
        }
        if let Some(code) = checks.required("/display_currency", &self.display_currency)
            && Currency::from_code(code).is_none()
        {
            let code: String = code.chars().take(8).collect();
            checks.fail("/display_currency", format!("`{code}` is not a currency of ISO 4217, such as `EUR` or `USD`"));
        }
    }
}

impl UpdateSettings {
    /// What it changes.
    #[must_use]
    pub fn change(&self) -> SettingsChange {
        SettingsChange {
            time_zone: self.time_zone.value().and_then(|zone| schedule::zone(zone).ok()),
            display_currency: self.display_currency.value().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Error;

    fn wrong(body: Value) -> Vec<String> {
        match serde_json::from_value::<UpdateSettings>(body).unwrap().validated() {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.into_iter().map(|error| error.pointer).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn zones_and_currencies_are_known_ones() {
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"] {
            assert_eq!(wrong(json!({ "time_zone": zone })), Vec::<String>::new(), "{zone}");
        }
        for zone in ["", "Berlin", "europe/berlin", "UTC+1", "Europe/Berlin ", "../etc/passwd", "a\0"] {
            assert_eq!(wrong(json!({ "time_zone": zone })), ["/time_zone"], "{zone:?}");
        }
        for code in ["EUR", "USD", "JPY", "CHF"] {
            assert_eq!(wrong(json!({ "display_currency": code })), Vec::<String>::new(), "{code}");
        }
        for code in ["", "eur", "EURO", "ZZZ", "E\0R"] {
            assert_eq!(wrong(json!({ "display_currency": code })), ["/display_currency"], "{code:?}");
        }
        assert_eq!(wrong(json!({ "time_zone": null, "display_currency": null })), ["/time_zone", "/display_currency"]);
    }
}
