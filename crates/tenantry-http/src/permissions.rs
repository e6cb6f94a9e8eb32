//! What each operation of a tenant needs, in one table, and the layer that asks for it.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tenantry_core::Role;
use tenantry_postgres::{Principal, Via};

use crate::codes;
use crate::problem::Problem;
use crate::scope::TenantScope;

/// A right to do something, by name. Keys are limited to names; members have those that their role reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// Its name, such as `tasks:write`.
    pub name: &'static str,
    /// The least role that has it.
    pub role: Role,
}

/// What reading and changing one kind of thing needs: the first segment below `/v1`, or of a path that is not below it.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// The segment.
    pub segment: &'static str,
    /// For `GET` and `HEAD`.
    pub read: Permission,
    /// For everything else.
    pub write: Permission,
}

/// One operation that needs something of its own.
#[derive(Debug)]
pub struct Action {
    /// Its method.
    pub method: Method,
    /// Its path, as the route is written.
    pub path: &'static str,
    /// What it needs.
    pub permission: Permission,
}

/// Who one is and what one may, everybody may know, whatever the scopes are.
const ABOUT_ONESELF: &str = "me:read";

/// The table of an API. An operation that it does not know is refused to everybody.
#[derive(Debug, Clone, Copy)]
pub struct Permissions {
    /// Kinds of things.
    pub resources: &'static [Resource],
    /// What is not below `/v1`, by the first segment of its paths.
    pub apart: &'static [Resource],
    /// Operations that differ.
    pub actions: &'static [Action],
}

/// Rows of [`Permissions::resources`]: the segment, the least role for reading and the least for changing.
///
/// ```
/// use tenantry_http::{Resource, resources};
/// const RESOURCES: &[Resource] = resources! { "agents": Viewer, Member; "keys": Admin, Admin; };
/// assert_eq!(RESOURCES[0].write.name, "agents:write");
/// ```
#[macro_export]
macro_rules! resources {
    ($($segment:literal: $read:ident, $write:ident;)+) => {
        &[$($crate::Resource {
            segment: $segment,
            read: $crate::Permission { name: concat!($segment, ":read"), role: $crate::Role::$read },
            write: $crate::Permission { name: concat!($segment, ":write"), role: $crate::Role::$write },
        }),+]
    };
}

impl Permissions {
    /// What an operation needs; `path` as the route is written.
    #[must_use]
    pub fn of(&self, method: &Method, path: &str) -> Option<Permission> {
        // A HEAD is answered by the handler of GET.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        if let Some(action) = self.actions.iter().find(|action| action.method == *method && action.path == path) {
            return Some(action.permission);
        }
        let (resources, rest) = match path.strip_prefix("/v1/") {
            Some(rest) => (self.resources, rest),
            None => (self.apart, path.strip_prefix('/')?),
        };
        let segment = rest.split('/').next()?;
        let resource = resources.iter().find(|resource| resource.segment == segment)?;
        Some(if *method == Method::GET { resource.read } else { resource.write })
    }

    /// Every permission, in the order of the table.
    pub fn all(&self) -> impl Iterator<Item = Permission> {
        let resources = self.resources.iter().chain(self.apart).flat_map(|resource| [resource.read, resource.write]);
        resources.chain(self.actions.iter().map(|action| action.permission))
    }

    /// Whether somebody has a permission.
    ///
    /// A key without scopes has all; one with scopes has those, `*` being all. A token's scopes limit its role as far as they
    /// are names of this table: the identity provider's own (`openid`, `profile`) say nothing about it.
    #[must_use]
    pub fn allow(&self, principal: &Principal, permission: Permission) -> bool {
        if permission.name == ABOUT_ONESELF {
            return true;
        }
        if principal.role() < permission.role {
            return false;
        }
        let scopes = principal.scopes();
        let named = |scope: &String| scope == permission.name || scope == "*";
        match principal.via() {
            Via::System { .. } => true,
            Via::ApiKey { .. } => scopes.is_empty() || scopes.iter().any(named),
            Via::Token => {
                let ours = |scope: &&String| *scope == "*" || self.all().any(|known| known.name == scope.as_str());
                let mut ours = scopes.iter().filter(ours).peekable();
                ours.peek().is_none() || ours.any(named)
            }
        }
    }
}

/// Middleware that lets a tenant's request through only with the permission that the table asks for. It stands behind
/// [`tenant_context`](crate::tenant_context).
pub(crate) async fn authorize(State(table): State<Permissions>, request: Request, next: Next) -> Response {
    match check(table, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(table: Permissions, request: &Request) -> Result<(), Problem> {
    let Some(TenantScope(context)) = request.extensions().get::<TenantScope>() else {
        return Err(Problem::of(&codes::TENANT_CONTEXT_REQUIRED));
    };
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(permission) = table.of(request.method(), path) else {
        tracing::error!(target: "tenantry::http", method = %request.method(), path, "an operation without a permission is refused");
        return Err(Problem::of(&codes::PERMISSION_DENIED).detail("nobody has the permission for this operation"));
    };
    let principal = context.principal();
    if table.allow(principal, permission) {
        return Ok(());
    }
    let role = principal.role();
    let detail = if role < permission.role {
        format!("`{}` needs the role `{}`, yours is `{role}`", permission.name, permission.role)
    } else {
        format!("the credential is limited to other scopes than `{}`", permission.name)
    };
    let problem = Problem::of(&codes::PERMISSION_DENIED).detail(detail);
    Err(problem.with("permission", permission.name).with("role", role))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Permissions = Permissions {
        resources: resources! { "agents": Viewer, Member; "keys": Admin, Admin; },
        apart: resources! { "files": Viewer, Member; },
        actions: &[Action {
            method: Method::POST,
            path: "/v1/agents/{id}/retire",
            permission: Permission { name: "agents:retire", role: Role::Owner },
        }],
    };

    #[test]
    fn an_operation_is_found_by_segment_and_method_unless_it_has_a_row_of_its_own() {
        let of = |method, path| TABLE.of(&method, path).map(|permission| permission.name);
        assert_eq!(of(Method::GET, "/v1/agents/{id}"), Some("agents:read"));
        assert_eq!(of(Method::HEAD, "/v1/agents"), Some("agents:read"));
        assert_eq!(of(Method::DELETE, "/v1/agents/{id}"), Some("agents:write"));
        assert_eq!(of(Method::POST, "/v1/agents/{id}/retire"), Some("agents:retire"));
        assert_eq!(of(Method::GET, "/files/{*path}"), Some("files:read"));
        assert_eq!(of(Method::PUT, "/files/{*path}"), Some("files:write"));
        let strange =
            ["/v1/tasks", "/v2/agents", "/agents", "/v1/agentsX", "/v1/files", "/filesX", "//files", "files", "/", ""];
        for unknown in strange {
            assert_eq!(of(Method::GET, unknown), None, "{unknown}");
        }
    }
}
