use std::fmt;

/// What PostgreSQL, or the product, does about an attack.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// The server refuses it with this SQLSTATE.
    Refused(&'static str),
    /// The server allows it, and it shows and changes nothing of anybody else.
    Harmless,
    /// PostgreSQL cannot refuse it; this layer of the product makes it useless. Run as a tenant it still shows nothing
    /// foreign; a stolen login may get as far as the tenants of its own cell.
    DefendedBy(&'static str),
    /// So, or the server was built without what it needs (`0A000`).
    IfBuilt(&'static Verdict),
    /// Decided anew from a major version on.
    From(i32, &'static Verdict, &'static Verdict),
}

impl Verdict {
    pub(super) fn on(self, major: i32) -> Self {
        match self {
            Self::From(since, older, newer) => (if major >= since { *newer } else { *older }).on(major),
            decided => decided,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(state) => write!(f, "refused with {state}"),
            Self::Harmless => f.write_str("allowed, and harmless"),
            Self::DefendedBy(layer) => write!(f, "allowed, but {layer}"),
            Self::IfBuilt(verdict) => write!(f, "{verdict}, where the server has the feature"),
            Self::From(since, older, newer) => write!(f, "{older}; from {since} on {newer}"),
        }
    }
}

/// Refused for lack of a privilege.
pub(super) const DENIED: Verdict = Verdict::Refused("42501");

/// The layers that stand where PostgreSQL does not.
pub(super) mod layer {
    use super::Verdict;

    /// The role is taken anew before each statement that follows an unvetted one, and a message holds one statement.
    pub(in super::super) const SCOPE: Verdict =
        Verdict::DefendedBy("the role is taken anew before each statement, and a message holds one statement");
    /// Nothing a session holds outlives the tenant's turn.
    pub(in super::super) const DISCARD: Verdict =
        Verdict::DefendedBy("the session is discarded before another tenant gets the connection");
    /// A login can become the tenants of its own cell: that is what bounds a theft.
    pub(in super::super) const CELL: Verdict = Verdict::DefendedBy("a login reaches its own cell only");
    /// The product runs static statements only; unvetted SQL is the operator's own.
    pub(in super::super) const STATIC: Verdict =
        Verdict::DefendedBy("no text of a tenant is run: statements are static, values are parameters");
    /// What stands in the catalog is names, and no name is a secret: slugs are public, the rest is derived or random.
    pub(in super::super) const NAMES: Verdict =
        Verdict::DefendedBy("the catalog holds names only, and no name is a secret");
    /// What a login changes about itself is set again by the product on each connection.
    pub(in super::super) const PINNED: Verdict = Verdict::DefendedBy(
        "connections state their own settings and roles; the audit of privileges reports the change",
    );
}

/// A hostile statement, or several in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    pub(super) group: &'static str,
    /// The steps. `{me}`, `{mate}` and `{stranger}` are schemas; with `_role`, `_id` and `_login` what belongs to them.
    pub(super) sql: &'static [&'static str],
    /// As the tenant's role, through `TenantTx::raw`.
    pub(super) tenant: Verdict,
    /// As the bare login of the cell.
    pub(super) login: Verdict,
    pub(super) why: &'static str,
    /// Parts of the snapshot that it does change.
    pub(super) leaves: &'static [&'static str],
    /// How the superuser undoes that.
    pub(super) undo: &'static str,
}

pub(super) const fn attack(
    group: &'static str,
    sql: &'static [&'static str],
    tenant: Verdict,
    login: Verdict,
    why: &'static str,
) -> Attack {
    Attack { group, sql, tenant, login, why, leaves: &[], undo: "" }
}

impl Attack {
    pub(super) const fn leaving(mut self, parts: &'static [&'static str], undo: &'static str) -> Self {
        self.leaves = parts;
        self.undo = undo;
        self
    }
}
