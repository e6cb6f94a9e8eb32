//! What a transaction leaves beside its changes: audit events and published events, written just before it commits.

use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};

use crate::registry::Actor;
use crate::statement::Statement;

/// Appends audit events of the current tenant; the tenant is the role's, not a parameter.
static AUDIT: Statement = Statement::new(
    "AUDIT",
    "INSERT INTO audit.events (actor_kind, actor, request_id, client_ip, action, target, details) \
     SELECT $1, $2, $3, $4, n.action, n.target, n.details \
     FROM unnest($5::text[], $6::text[], $7::jsonb[]) WITH ORDINALITY AS n (action, target, details, at) ORDER BY n.at",
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::JSONB_ARRAY],
);

/// The same, and appends to the tenant's own events. These get their ids when all audit events are in the tenant's chain, whose
/// last place this transaction holds from then on: the count is what makes the second part wait for the first.
static AUDIT_AND_PUBLISH: Statement = Statement::new(
    "AUDIT_AND_PUBLISH",
    "WITH chained AS ( \
       INSERT INTO audit.events (actor_kind, actor, request_id, client_ip, action, target, details) \
       SELECT $1, $2, $3, $4, n.action, n.target, n.details \
       FROM unnest($5::text[], $6::text[], $7::jsonb[]) WITH ORDINALITY AS n (action, target, details, at) ORDER BY n.at \
       RETURNING 1) \
     INSERT INTO tenant.events (kind, data) \
     SELECT n.kind, n.data FROM (SELECT count(*) AS events FROM chained) AS held \
     CROSS JOIN unnest($8::text[], $9::jsonb[]) WITH ORDINALITY AS n (kind, data, at) WHERE held.events > 0 ORDER BY n.at",
    &[
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::JSONB_ARRAY,
        Type::TEXT_ARRAY,
        Type::JSONB_ARRAY,
    ],
);

/// Events that wait for the commit. They come last so that the place in the tenant's audit chain is held for the shortest time, and
/// in one statement, however many there are.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) audit: Vec<Noted>,
    pub(super) published: Vec<(&'static str, Value)>,
}

/// An audit event without the one who acts, who is the same for all of a transaction.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) action: String,
    pub(super) target: String,
    pub(super) details: Value,
}

/// What [`Notes::take`] gives: a statement and its parameters.
pub(super) struct Written {
    pub(super) statement: &'static Statement,
    actor: Actor,
    actions: Vec<String>,
    targets: Vec<String>,
    details: Vec<Value>,
    published: Option<(Vec<&'static str>, Vec<Value>)>,
}

/// How much was noted at some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    audit: usize,
    published: usize,
}

impl Notes {
    pub(super) fn length(&self) -> Length {
        Length { audit: self.audit.len(), published: self.published.len() }
    }

    /// Forgets what was noted since.
    pub(super) fn cut(&mut self, to: Length) {
        self.audit.truncate(to.audit);
        self.published.truncate(to.published);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.audit.is_empty() && self.published.is_empty()
    }

    /// Everything noted so far, by one who acts. What is published without an audit event beside it gets one, for it is by the
    /// audit chain that published events are ordered.
    pub(super) fn take(&mut self, actor: Actor) -> Written {
        if self.audit.is_empty()
            && let Some((kind, _)) = self.published.first()
        {
            self.audit.push(Noted { action: (*kind).to_owned(), target: "events".to_owned(), details: json!({}) });
        }
        let (kinds, data): (Vec<_>, Vec<_>) = self.published.drain(..).unzip();
        let published = (!kinds.is_empty()).then_some((kinds, data));
        let statement = if published.is_some() { &AUDIT_AND_PUBLISH } else { &AUDIT };
        let (actions, targets, details) = (Vec::new(), Vec::new(), Vec::new());
        let mut written = Written { statement, actor, actions, targets, details, published };
        for Noted { action, target, details } in self.audit.drain(..) {
            written.actions.push(action);
            written.targets.push(target);
            written.details.push(details);
        }
        written
    }
}

impl Written {
    pub(super) const fn publishes(&self) -> bool {
        self.published.is_some()
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Actor { kind, name, request_id, client_ip } = &self.actor;
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![kind, name, request_id, client_ip, &self.actions, &self.targets, &self.details];
        if let Some((kinds, data)) = &self.published {
            params.extend([kinds as &(dyn ToSql + Sync), data]);
        }
        params
    }
}
