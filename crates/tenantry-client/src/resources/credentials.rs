use reqwest::Method;
use serde::Serialize;
use workforce::credential::{Credential, ServiceAnswer, UseCredential};

use crate::{Call, Client, List};

const PATH: &str = "/v1/credentials";

/// Credentials that agents use by name and never see.
///
/// Bodies with values are whatever JSON the caller makes of them, as those of [`ProviderAccounts`](super::ProviderAccounts).
#[derive(Debug)]
pub struct Credentials {
    client: Client,
}

/// A list of credentials, which has one order.
pub type CredentialList = List<Credential>;

impl Client {
    /// Credentials that agents use by name.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { client: self.clone() }
    }
}

impl Credentials {
    fn at<T>(&self, method: Method, name: &str, step: &str) -> Call<T> {
        self.client.call(method, format!("{PATH}/{}{step}", segment(name)))
    }

    /// All, or those of one service.
    pub fn list(&self, service: Option<&str>) -> CredentialList {
        List::new(self.client.clone(), PATH.to_owned(), service.map(|service| ("service", service.to_owned())))
    }

    /// Reads one.
    pub fn get(&self, name: &str) -> Call<Credential> {
        self.at(Method::GET, name, "")
    }

    /// Makes one.
    pub fn create(&self, new: &impl Serialize) -> Call<Credential> {
        self.client.call(Method::POST, PATH).body(new)
    }

    /// Changes one that is still at this version.
    pub fn update(&self, name: &str, version: i64, change: &impl Serialize) -> Call<Credential> {
        self.at(Method::PATCH, name, "").version(version).body(change)
    }

    /// Deletes one that is still at this version.
    pub fn delete(&self, name: &str, version: i64) -> Call<()> {
        self.at(Method::DELETE, name, "").version(version)
    }

    /// Has a request made with one. It is sent to the service once, however often the call is repeated.
    pub fn use_for(&self, name: &str, request: &UseCredential) -> Call<ServiceAnswer> {
        self.at(Method::POST, name, "/use").body(request)
    }
}

/// A name as one segment of a path: what a name cannot have is left out, so that none leads elsewhere.
fn segment(name: &str) -> String {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).collect();
    if name.is_empty() || name.bytes().all(|byte| byte == b'.') { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert_eq!(
            (segment("crm.v2").as_str(), segment("a/../b?c").as_str(), segment("..").as_str()),
            ("crm.v2", "a..bc", "-")
        );
    }
}
