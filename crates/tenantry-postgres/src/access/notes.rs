//! What a transaction leaves beside its changes: audit events and published events, written just before it commits.

use serde_json::Value;
use tokio_postgres::types::Type;

use crate::registry::Actor;
use crate::statement::Statement;

/// Appends audit events of the current tenant; the tenant is the role's, not a parameter.
pub(super) static AUDIT: Statement = Statement::new(
    "AUDIT",
    "INSERT INTO audit.events (actor_kind, actor, request_id, client_ip, action, target, details) \
     SELECT $1, $2, $3, $4, n.action, n.target, n.details \
     FROM unnest($5::text[], $6::text[], $7::jsonb[]) WITH ORDINALITY AS n (action, target, details, at) ORDER BY n.at",
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::JSONB_ARRAY],
);

/// Appends to the tenant's own events.
pub(super) static PUBLISH: Statement = Statement::new(
    "PUBLISH",
    "INSERT INTO tenant.events (kind, data) \
     SELECT n.kind, n.data FROM unnest($1::text[], $2::jsonb[]) WITH ORDINALITY AS n (kind, data, at) ORDER BY n.at",
    &[Type::TEXT_ARRAY, Type::JSONB_ARRAY],
);

/// Events that wait for the commit. They come last so that whatever orders them is held for the shortest time, and in one
/// statement each, however many there are.
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

/// The columns of [`AUDIT`], in its order.
pub(super) struct AuditRows {
    pub(super) actor: Actor,
    pub(super) actions: Vec<String>,
    pub(super) targets: Vec<String>,
    pub(super) details: Vec<Value>,
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

    pub(super) fn take_audit(&mut self, actor: Actor) -> Option<AuditRows> {
        if self.audit.is_empty() {
            return None;
        }
        let mut rows = AuditRows { actor, actions: Vec::new(), targets: Vec::new(), details: Vec::new() };
        for Noted { action, target, details } in self.audit.drain(..) {
            rows.actions.push(action);
            rows.targets.push(target);
            rows.details.push(details);
        }
        Some(rows)
    }

    pub(super) fn take_published(&mut self) -> Option<(Vec<&'static str>, Vec<Value>)> {
        if self.published.is_empty() {
            return None;
        }
        Some(self.published.drain(..).unzip())
    }
}
