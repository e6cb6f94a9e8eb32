use reqwest::Method;
use uuid::Uuid;
use workforce::{
    AddMember, ApiKey, CreateApiKey, Me, Member, MemberRole, NewApiKey, PlanInForce, UpdateMember, UsageOfPlan,
};

use crate::filter::Parameters;
use crate::{Call, Change, Client, Collection, Create, Delete, Filter, Listed, Resource};

/// API keys.
#[derive(Debug)]
pub enum Keys {}

impl Resource for Keys {
    const PATH: &'static str = "/v1/keys";
    type Id = Uuid;
    type Record = ApiKey;
}

impl Listed for Keys {
    type Filter = ();
    type Order = &'static str;
}

/// Members: people with tokens of the identity provider.
#[derive(Debug)]
pub enum Members {}

impl Resource for Members {
    const PATH: &'static str = "/v1/members";
    type Id = Uuid;
    type Record = Member;
}

impl Listed for Members {
    type Filter = MemberFilter;
    type Order = &'static str;
}

impl Create for Members {
    type New = AddMember;
}

impl Change for Members {
    type Change = UpdateMember;
}

impl Delete for Members {}

/// Which members a list shows.
#[derive(Debug, Clone, Default)]
pub struct MemberFilter {
    /// Only with this role.
    pub role: Option<MemberRole>,
    /// Only what the identity provider calls so.
    pub subject: Option<String>,
}

impl Filter for MemberFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let role = self.role.map(|role| match role {
            MemberRole::Viewer => "viewer",
            MemberRole::Member => "member",
            MemberRole::Admin => "admin",
            MemberRole::Owner => "owner",
        });
        Parameters::default().one("role", role.as_ref()).one("subject", self.subject.as_ref()).into_inner()
    }
}

impl Client {
    /// API keys.
    #[must_use]
    pub fn keys(&self) -> Collection<Keys> {
        Collection::new(self.clone())
    }

    /// Members.
    #[must_use]
    pub fn members(&self) -> Collection<Members> {
        Collection::new(self.clone())
    }

    /// Who the credential is, and what it may do.
    pub fn me(&self) -> Call<Me> {
        self.call(Method::GET, "/v1/me")
    }

    /// The plan and the limits in force.
    pub fn plan(&self) -> Call<PlanInForce> {
        self.call(Method::GET, "/v1/plan")
    }

    /// How much of each limit is used.
    pub fn usage(&self) -> Call<UsageOfPlan> {
        self.call(Method::GET, "/v1/usage")
    }
}

impl Collection<Keys> {
    /// Makes one; its token is shown in this answer only.
    pub fn create(&self, new: &CreateApiKey) -> Call<NewApiKey> {
        self.client.call(Method::POST, Keys::PATH).body(new)
    }

    /// Ends one; every server refuses it within a second.
    pub fn revoke(&self, id: Uuid) -> Call<ApiKey> {
        self.at(Method::DELETE, id)
    }
}
