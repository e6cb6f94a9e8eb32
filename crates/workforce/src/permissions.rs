use axum::http::Method;
use tenantry_http::{Action, Permission, Permissions, Role, resources};

/// Lets a draft go out, or not: what a company says to others is said by a person who may speak for it.
const APPROVE: Permission = Permission { name: "messages:approve", role: Role::Admin };

/// What each operation needs: the least role, and the scope that a limited key must have.
pub const PERMISSIONS: Permissions = Permissions {
    resources: resources! {
        "agents": Viewer, Member;
        "events": Viewer, Owner;
        "tasks": Viewer, Member;
        "messages": Viewer, Member;
        "activity": Viewer, Member;
        "sessions": Viewer, Member;
        "schedules": Viewer, Member;
        "settings": Viewer, Admin;
    },
    actions: &[
        Action { method: Method::POST, path: "/v1/messages/{id}/approve", permission: APPROVE },
        Action { method: Method::POST, path: "/v1/messages/{id}/reject", permission: APPROVE },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_drafts_does_not_thereby_approve_them() {
        let of = |path| PERMISSIONS.of(&Method::POST, path).map(|needed| (needed.name, needed.role));
        assert_eq!(of("/v1/messages"), Some(("messages:write", Role::Member)));
        for decision in ["/v1/messages/{id}/approve", "/v1/messages/{id}/reject"] {
            assert_eq!(of(decision), Some(("messages:approve", Role::Admin)), "{decision}");
        }
    }
}
