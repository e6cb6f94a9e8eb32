use tenantry_http::{Permissions, resources};

/// What each operation needs: the least role, and the scope that a limited key must have.
pub const PERMISSIONS: Permissions = Permissions {
    resources: resources! {
        "agents": Viewer, Member;
        "plan": Viewer, Owner;
        "tasks": Viewer, Member;
        "usage": Viewer, Owner;
    },
    actions: &[],
};
