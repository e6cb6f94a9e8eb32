mod add;
mod get;
mod list;
mod model;
mod remove;
mod update;

pub use add::AddMember;
pub use model::{Member, MemberRole};
pub use update::UpdateMember;

use axum::extract::FromRef;
use tenantry_postgres::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Registry: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list::list_members, add::add_member)).routes(routes!(
        get::get_member,
        update::update_member,
        remove::remove_member
    ))
}
