use axum::http::Method;
use tenantry_http::{Action, Permission, Permissions, Role, resources};
use tenantry_postgres::Principal;

/// What each operation needs: the least role, and the scope that a limited key must have.
pub const PERMISSIONS: Permissions = Permissions {
    resources: resources! {
        "agents": Viewer, Member;
        "tasks": Viewer, Member;
        "members": Member, Admin;
        "keys": Admin, Admin;
    },
    actions: &[Action {
        method: Method::GET,
        path: "/v1/me",
        permission: Permission { name: "me:read", role: Role::Viewer },
    }],
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
