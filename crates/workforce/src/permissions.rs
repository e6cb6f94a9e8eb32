use axum::http::Method;
use tenantry_http::{Action, Permission, Permissions, Role, resources};

/// What each operation needs: the least role, and the scope that a limited key must have.
pub const PERMISSIONS: Permissions = Permissions {
    resources: resources! {
        "agents": Viewer, Member;
        "credentials": Member, Admin;
        "provider-accounts": Member, Admin;
        "tasks": Viewer, Member;
    },
    actions: &[Action {
        method: Method::POST,
        path: "/v1/credentials/{name}/use",
        permission: Permission { name: "credentials:use", role: Role::Member },
    }],
};
