use axum::http::Method;
use tenantry_http::{Action, Permission, Permissions, Resource, Role, resources};
use tenantry_postgres::Principal;

/// Lets a draft go out, or not: what a company says to others is said by a person who may speak for it.
const APPROVE: Permission = Permission { name: "messages:approve", role: Role::Admin };

/// Calls to providers through the gateway: with a company's credential, at its cost.
const GATEWAY: Resource = Resource {
    segment: "llm",
    read: Permission { name: "llm:read", role: Role::Member },
    write: Permission { name: "llm:call", role: Role::Member },
};

/// What each operation needs: the least role, and the scope that a limited key must have.
pub const PERMISSIONS: Permissions = Permissions {
    resources: resources! {
        "agents": Viewer, Member;
        "credentials": Member, Admin;
        "provider-accounts": Member, Admin;
        "events": Viewer, Owner;
        "plan": Viewer, Owner;
        "provider-calls": Viewer, Member;
        "analytics": Viewer, Owner;
        "budgets": Viewer, Admin;
        "prices": Viewer, Admin;
        "statements": Viewer, Owner;
        "tasks": Viewer, Member;
        "usage": Viewer, Owner;
        "messages": Viewer, Member;
        "activity": Viewer, Member;
        "sessions": Viewer, Member;
        "members": Member, Admin;
        "keys": Admin, Admin;
        "schedules": Viewer, Member;
        "settings": Viewer, Admin;
    },
    apart: &[GATEWAY],
    actions: &[
        Action { method: Method::POST, path: "/v1/messages/{id}/approve", permission: APPROVE },
        Action { method: Method::POST, path: "/v1/messages/{id}/reject", permission: APPROVE },
        Action { method: Method::GET, path: "/v1/me", permission: Permission { name: "me:read", role: Role::Viewer } },
        Action {
            method: Method::POST,
            path: "/v1/credentials/{name}/use",
            permission: Permission { name: "credentials:use", role: Role::Member },
        },
    ],
};

/// The names of the permissions that somebody has, each once.
pub(crate) fn held_by(principal: &Principal) -> Vec<&'static str> {
    let mut held: Vec<&str> = Vec::new();
    for permission in PERMISSIONS.all().filter(|permission| PERMISSIONS.allow(principal, *permission)) {
        if !held.contains(&permission.name) {
            held.push(permission.name);
        }
    }
    held
}

/// Whether a key can be limited to this.
pub(crate) fn is_scope(name: &str) -> bool {
    name == "*" || PERMISSIONS.all().any(|permission| permission.name == name)
}

/// Whether somebody has everything that a key with these scopes would have. A key without scopes has everything there is.
pub(crate) fn may_give(principal: &Principal, scopes: &[String]) -> bool {
    let within = |permission: &Permission| {
        scopes.is_empty() || scopes.iter().any(|scope| scope == "*" || scope == permission.name)
    };
    PERMISSIONS.all().filter(within).all(|permission| PERMISSIONS.allow(principal, permission))
}

/// The highest role of which somebody has everything. A key that is limited to `members:write` has none, so it cannot make a
/// member who may do more than it.
pub(crate) fn highest_role(principal: &Principal) -> Option<Role> {
    let has_all = |role: &Role| {
        principal.role() >= *role
            && PERMISSIONS
                .all()
                .filter(|permission| permission.role <= *role)
                .all(|permission| PERMISSIONS.allow(principal, permission))
    };
    Role::ALL.into_iter().rev().find(has_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_drafts_does_not_thereby_approve_them() {
        let of = |path| PERMISSIONS.of(&Method::POST, path).map(|needed| (needed.name, needed.role));
        assert_eq!(of("/v1/messages"), Some(("messages:write", Role::Member)));
        assert_eq!(of("/llm/openai/v1/chat/completions"), Some(("llm:call", Role::Member)));
        assert_eq!(of("/v1/llm"), None);
        for decision in ["/v1/messages/{id}/approve", "/v1/messages/{id}/reject"] {
            assert_eq!(of(decision), Some(("messages:approve", Role::Admin)), "{decision}");
        }
    }
}
