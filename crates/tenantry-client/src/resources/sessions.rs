use reqwest::Method;
use workforce::SessionId;
use workforce::session::{CreateSession, ReportUsage, Session, SessionFilter, SessionOrder};

use crate::{Call, Client, Collection, Create, Listed, Resource};

/// Sessions: runs of agents.
#[derive(Debug)]
pub enum Sessions {}

impl Resource for Sessions {
    const PATH: &'static str = "/v1/sessions";
    type Id = SessionId;
    type Record = Session;
}

impl Listed for Sessions {
    type Filter = SessionFilter;
    type Order = SessionOrder;
}

impl Create for Sessions {
    type New = CreateSession;
}

impl Client {
    /// Sessions.
    #[must_use]
    pub fn sessions(&self) -> Collection<Sessions> {
        Collection::new(self.clone())
    }
}

impl Collection<Sessions> {
    /// Adds to what a session has used. Repeated under its key, it is added once.
    pub fn report(&self, id: SessionId, usage: &ReportUsage) -> Call<Session> {
        self.at(Method::POST, format!("{id}/usage")).body(usage)
    }

    /// Ends a session in good order.
    pub fn end(&self, id: SessionId) -> Call<Session> {
        self.at(Method::POST, format!("{id}/end"))
    }

    /// Ends a session that broke off.
    pub fn fail(&self, id: SessionId) -> Call<Session> {
        self.at(Method::POST, format!("{id}/fail"))
    }
}
