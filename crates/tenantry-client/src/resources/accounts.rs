use reqwest::Method;
use serde::Serialize;
use workforce::ProviderAccountId;
use workforce::account::{AccountFilter, Authorization, ProviderAccount};

use crate::{Call, Change, Client, Collection, Delete, Listed, Resource};

/// Accounts at providers.
///
/// Bodies with secrets are whatever JSON the caller makes of them: the server's types for them cannot be written, so that no secret gets
/// into an event or a log.
#[derive(Debug)]
pub enum ProviderAccounts {}

impl Resource for ProviderAccounts {
    const PATH: &'static str = "/v1/provider-accounts";
    type Id = ProviderAccountId;
    type Record = ProviderAccount;
}

impl Listed for ProviderAccounts {
    type Filter = AccountFilter;
    type Order = &'static str;
}

impl Change for ProviderAccounts {
    type Change = serde_json::Value;
}

impl Delete for ProviderAccounts {}

impl Client {
    /// Accounts at providers.
    #[must_use]
    pub fn provider_accounts(&self) -> Collection<ProviderAccounts> {
        Collection::new(self.clone())
    }
}

impl Collection<ProviderAccounts> {
    /// Makes one of a token or key that the company has.
    pub fn create(&self, new: &impl Serialize) -> Call<ProviderAccount> {
        self.client.call(Method::POST, ProviderAccounts::PATH).body(new)
    }

    /// Gives one new secrets.
    pub fn rotate(&self, id: ProviderAccountId, secrets: &impl Serialize) -> Call<ProviderAccount> {
        self.at(Method::POST, format!("{id}/rotate")).body(secrets)
    }

    /// Ends one; its secrets are gone.
    pub fn revoke(&self, id: ProviderAccountId) -> Call<ProviderAccount> {
        self.at(Method::POST, format!("{id}/revoke"))
    }

    /// Begins an authorization; a person goes on in a browser.
    pub fn authorize(&self, start: &impl Serialize) -> Call<Authorization> {
        self.at(Method::POST, "oauth/start").body(start)
    }
}
