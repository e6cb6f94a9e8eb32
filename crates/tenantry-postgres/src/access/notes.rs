//! What a transaction leaves beside its changes: audit events, published events and the answer to the request, written just before it
//! commits.

use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};

use crate::registry::Actor;
use crate::statement::Statement;

/// Whose audit events they are; the tenant is the role's, not a parameter.
macro_rules! append {
    () => {
        "INSERT INTO audit.events (actor_kind, actor, request_id, client_ip, action, target, details) SELECT $1, $2, $3, $4"
    };
}

/// Several audit events, in their order.
macro_rules! several {
    () => {
        "unnest($5::text[], $6::text[], $7::jsonb[]) WITH ORDINALITY AS n (action, target, details, at)"
    };
}

/// Several published events, in their order. They get their ids when all audit events are in the tenant's chain, whose last place
/// this transaction holds from then on: the count is what makes this part wait for that.
macro_rules! publish {
    () => {
        "INSERT INTO tenant.events (kind, data) \
         SELECT n.kind, n.data FROM (SELECT count(*) AS events FROM chained) AS held \
         CROSS JOIN unnest($8::text[], $9::jsonb[]) WITH ORDINALITY AS n (kind, data, at) WHERE held.events > 0 ORDER BY n.at"
    };
}

/// Keeps the answer to the request under its key. The audit events wait for it: whoever waits for a key holds no chain.
///
/// A key that somebody has is not overwritten: the row refuses the empty fingerprint, and with it the whole transaction, whose
/// COMMIT is on its way already. Free are one that is older than a day, and one without a status that the same request has taken or claimed.
macro_rules! keep {
    () => {
        "kept AS ( \
           INSERT INTO tenant.idempotency_keys AS k (id, fingerprint, status, etag, location, body) \
           VALUES ($10, $11, $12, $13, $14, $15) \
           ON CONFLICT (id) DO UPDATE SET \
             fingerprint = CASE WHEN (k.status IS NULL AND k.fingerprint = excluded.fingerprint) OR k.created_at < now() - interval '1 day' THEN excluded.fingerprint ELSE '' END, \
             status = excluded.status, etag = excluded.etag, location = excluded.location, body = excluded.body, created_at = now() \
           RETURNING 1)"
    };
}

/// Appends audit events of the current tenant.
static AUDIT: Statement = Statement::new(
    "AUDIT",
    concat!(append!(), ", n.action, n.target, n.details FROM ", several!(), " ORDER BY n.at"),
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::JSONB_ARRAY],
);

/// The same, and appends to the tenant's own events.
static AUDIT_AND_PUBLISH: Statement = Statement::new(
    "AUDIT_AND_PUBLISH",
    concat!(
        "WITH chained AS (",
        append!(),
        ", n.action, n.target, n.details FROM ",
        several!(),
        " ORDER BY n.at RETURNING 1) ",
        publish!()
    ),
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

/// The same, and keeps an answer.
static AUDIT_PUBLISH_AND_KEEP: Statement = Statement::new(
    "AUDIT_PUBLISH_AND_KEEP",
    concat!(
        "WITH ",
        keep!(),
        ", chained AS (",
        append!(),
        ", n.action, n.target, n.details FROM (SELECT count(*) AS answers FROM kept) AS first CROSS JOIN ",
        several!(),
        " WHERE first.answers > 0 ORDER BY n.at RETURNING 1) ",
        publish!()
    ),
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
        Type::BYTEA,
        Type::BYTEA,
        Type::INT2,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
    ],
);

/// One audit event and one published, as most changes have: it costs less without arrays to unfold and to sort.
static CHANGE: Statement = Statement::new(
    "CHANGE",
    concat!(
        "WITH chained AS (",
        append!(),
        ", $5, $6, $7 RETURNING 1) INSERT INTO tenant.events (kind, data) SELECT $8, $9 FROM chained"
    ),
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::JSONB, Type::TEXT, Type::JSONB],
);

/// The same, and keeps an answer.
static CHANGE_AND_KEEP: Statement = Statement::new(
    "CHANGE_AND_KEEP",
    concat!(
        "WITH ",
        keep!(),
        ", chained AS (",
        append!(),
        ", $5, $6, $7 FROM kept RETURNING 1) INSERT INTO tenant.events (kind, data) SELECT $8, $9 FROM chained"
    ),
    &[
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::JSONB,
        Type::TEXT,
        Type::JSONB,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT2,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
    ],
);

/// Events that wait for the commit. They come last so that the place in the tenant's audit chain is held for the shortest time, and
/// in one statement, however many there are.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) audit: Vec<Noted>,
    pub(super) published: Vec<(&'static str, Value)>,
    pub(super) answer: Option<KeptAnswer>,
}

/// The answer to a request, to be given again to whoever asks the same under the same key.
#[derive(Debug, Clone)]
pub struct KeptAnswer {
    /// Of the key and whose it is.
    pub id: Vec<u8>,
    /// Of the request.
    pub fingerprint: Vec<u8>,
    /// The status of HTTP, a success.
    pub status: i16,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl KeptAnswer {
    /// The check that refuses a key which somebody has, by its name in the tenant's schema.
    pub(crate) const REFUSED_BY: &'static str = "idempotency_keys_fingerprint_check";
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
    kinds: Vec<&'static str>,
    published: Vec<Value>,
    answer: Option<KeptAnswer>,
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
        self.audit.is_empty() && self.published.is_empty() && self.answer.is_none()
    }

    /// Everything noted so far, by one who acts. What is published without an audit event beside it gets one, for it is by the
    /// audit chain that published events are ordered.
    pub(super) fn take(&mut self, actor: Actor) -> Written {
        if self.audit.is_empty()
            && let Some((kind, _)) = self.published.first()
        {
            self.audit.push(Noted { action: (*kind).to_owned(), target: "events".to_owned(), details: json!({}) });
        }
        let (kinds, published): (Vec<_>, Vec<_>) = self.published.drain(..).unzip();
        let answer = self.answer.take();
        let single = self.audit.len() == 1 && kinds.len() == 1;
        let statement = match answer {
            Some(_) if single => &CHANGE_AND_KEEP,
            Some(_) => &AUDIT_PUBLISH_AND_KEEP,
            None if single => &CHANGE,
            None if kinds.is_empty() => &AUDIT,
            None => &AUDIT_AND_PUBLISH,
        };
        let (actions, targets, details) = (Vec::new(), Vec::new(), Vec::new());
        let mut written = Written { statement, actor, actions, targets, details, kinds, published, answer };
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
        !self.kinds.is_empty()
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Actor { kind, name, request_id, client_ip } = &self.actor;
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![kind, name, request_id, client_ip];
        let single = (&*self.actions, &*self.targets, &*self.details, &*self.kinds, &*self.published);
        if let ([action], [target], [details], [kind], [data]) = single {
            params.extend([action as &(dyn ToSql + Sync), target, details, kind, data]);
        } else {
            params.extend([&self.actions as &(dyn ToSql + Sync), &self.targets, &self.details]);
            if self.publishes() || self.answer.is_some() {
                params.extend([&self.kinds as &(dyn ToSql + Sync), &self.published]);
            }
        }
        if let Some(KeptAnswer { id, fingerprint, status, etag, location, body }) = &self.answer {
            params.extend([id as &(dyn ToSql + Sync), fingerprint, status, etag, location, body]);
        }
        params
    }
}
