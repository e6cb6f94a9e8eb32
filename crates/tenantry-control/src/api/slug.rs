use serde::Deserialize;
use tenantry_core::{NameError, Slug};

/// The slug in a path. Whatever cannot be one ends here with 400, long before SQL. A label that was reserved after it was
/// given away is still a tenant's.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PathSlug(Slug);

impl PathSlug {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for PathSlug {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Slug::from_registry(&text).map(Self)
    }
}
