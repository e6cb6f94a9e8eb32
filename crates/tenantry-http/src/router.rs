//! Routes that exist only behind the tenant layer.

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};

use crate::layer::{tenant_context, tenant_passage};
use crate::permissions::{Permissions, authorize};
use crate::scope::TenantScope;
use crate::state::TenancyState;

/// Routes of tenants. They become part of a server through [`protect`](Self::protect) only, which puts
/// [`tenant_context`] in front of all of them, and each handler takes a [`TenantScope`] first:
///
/// ```
/// use tenantry_http::{TenantRouter, TenantScope};
/// async fn whoami(TenantScope(context): TenantScope) -> String {
///     context.slug().to_string()
/// }
/// let routes: TenantRouter = TenantRouter::new().get("/whoami", whoami);
/// ```
///
/// A handler that does not is refused by the compiler,
///
/// ```compile_fail,E0277
/// use tenantry_http::TenantRouter;
/// async fn anybody() -> &'static str {
///     "hello"
/// }
/// let routes: TenantRouter = TenantRouter::new().get("/anybody", anybody);
/// ```
///
/// also one that takes the scope too late, behind something that could take a connection already,
///
/// ```compile_fail,E0631
/// use axum::extract::State;
/// use tenantry_http::{TenantRouter, TenantScope};
/// use tenantry_postgres::TenantDb;
/// async fn late(State(db): State<TenantDb>, scope: TenantScope) -> &'static str {
///     "hello"
/// }
/// let routes: TenantRouter = TenantRouter::new().get("/late", late);
/// ```
///
/// or takes an operator for a tenant,
///
/// ```compile_fail,E0631
/// use tenantry_http::{OperatorScope, TenantRouter};
/// async fn overreach(operator: OperatorScope) -> &'static str {
///     "hello"
/// }
/// let routes: TenantRouter = TenantRouter::new().get("/overreach", overreach);
/// ```
///
/// and so is a router that forgets the layer, or takes its routes out past it:
///
/// ```compile_fail,E0277
/// use tenantry_http::{TenancyState, TenantRouter};
/// let routes: TenantRouter = TenantRouter::new();
/// let server: axum::Router<TenancyState> = axum::Router::new().merge(routes);
/// ```
///
/// ```compile_fail,E0616
/// use tenantry_http::TenantRouter;
/// let routes: TenantRouter = TenantRouter::new();
/// let unprotected = routes.routes;
/// ```
///
/// A layer for tenants cannot be believed by other code either: the marker of such handlers is sealed.
///
/// ```compile_fail,E0277
/// struct Anybody;
/// impl tenantry_http::TakesTenantScope for Anybody {}
/// ```
#[derive(Debug, Clone)]
pub struct TenantRouter<S = TenancyState> {
    routes: Router<S>,
}

impl<S: Clone + Send + Sync + 'static> TenantRouter<S> {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Router::new() }
    }

    /// Takes routes whose handlers' types are no longer visible, such as those of an OpenAPI router. The layer is put in
    /// front of them all the same; whether each handler takes a [`TenantScope`] is then up to whoever wrote them.
    #[must_use]
    pub fn from_untyped(routes: Router<S>) -> Self {
        Self { routes }
    }

    /// Adds a handler for a method.
    #[must_use]
    pub fn on<H, T>(self, method: MethodFilter, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: TakesTenantScope + 'static,
    {
        Self { routes: self.routes.route(path, on(method, handler)) }
    }

    /// Adds a handler for `GET`.
    #[must_use]
    pub fn get<H: Handler<T, S>, T: TakesTenantScope + 'static>(self, path: &str, handler: H) -> Self {
        self.on(MethodFilter::GET, path, handler)
    }

    /// Adds a handler for `POST`.
    #[must_use]
    pub fn post<H: Handler<T, S>, T: TakesTenantScope + 'static>(self, path: &str, handler: H) -> Self {
        self.on(MethodFilter::POST, path, handler)
    }

    /// Adds a handler for `PUT`.
    #[must_use]
    pub fn put<H: Handler<T, S>, T: TakesTenantScope + 'static>(self, path: &str, handler: H) -> Self {
        self.on(MethodFilter::PUT, path, handler)
    }

    /// Adds a handler for `PATCH`.
    #[must_use]
    pub fn patch<H: Handler<T, S>, T: TakesTenantScope + 'static>(self, path: &str, handler: H) -> Self {
        self.on(MethodFilter::PATCH, path, handler)
    }

    /// Adds a handler for `DELETE`.
    #[must_use]
    pub fn delete<H: Handler<T, S>, T: TakesTenantScope + 'static>(self, path: &str, handler: H) -> Self {
        self.on(MethodFilter::DELETE, path, handler)
    }

    /// Adds the routes of another.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { routes: self.routes.merge(other.routes) }
    }

    /// Adds the routes of another below a path.
    #[must_use]
    pub fn nest(self, path: &str, other: Self) -> Self {
        Self { routes: self.routes.nest(path, other.routes) }
    }

    /// Asks for the permission that the table names before each of these routes; one that it does not name is refused to everybody.
    #[must_use]
    pub fn authorize(self, table: Permissions) -> Self {
        if !self.routes.has_routes() {
            return self;
        }
        Self { routes: self.routes.route_layer(from_fn_with_state(table, authorize)) }
    }

    /// Puts the tenant layer in front of every route. Paths that are not routes stay 404 for everybody.
    pub fn protect(self, tenancy: &TenancyState) -> Router<S> {
        if !self.routes.has_routes() {
            return self.routes;
        }
        self.routes.route_layer(from_fn_with_state(tenancy.clone(), tenant_context))
    }
}

impl<S: Clone + Send + Sync + 'static> TenantRouter<S> {
    /// As [`protect`](Self::protect), for routes that pass requests on to another API: body and `Idempotency-Key` are that API's and are left
    /// alone, and a tenant whose storage is used up may go on, because nothing of its own grows.
    pub fn protect_passage(self, tenancy: &TenancyState) -> Router<S> {
        if !self.routes.has_routes() {
            return self.routes;
        }
        self.routes.route_layer(from_fn_with_state(tenancy.clone(), tenant_passage))
    }
}

impl<S: Clone + Send + Sync + 'static> Default for TenantRouter<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// Arguments of a handler that begin with a [`TenantScope`].
#[diagnostic::on_unimplemented(
    message = "a tenant's handler takes `TenantScope` as its first argument",
    note = "routes that are for everybody go into a plain `axum::Router`"
)]
pub trait TakesTenantScope: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! takes_tenant_scope {
    ($($argument:ident)*) => {
        // the shape of axum's handler arguments: a marker, the arguments, the last one included
        impl<M, $($argument),*> sealed::Sealed for (M, TenantScope, $($argument,)*) {}
        impl<M, $($argument),*> TakesTenantScope for (M, TenantScope, $($argument,)*) {}
    };
}

takes_tenant_scope!();
takes_tenant_scope!(A);
takes_tenant_scope!(A B);
takes_tenant_scope!(A B C);
takes_tenant_scope!(A B C D);
takes_tenant_scope!(A B C D E);
takes_tenant_scope!(A B C D E F);
takes_tenant_scope!(A B C D E F G);
