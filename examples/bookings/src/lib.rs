//! Meeting rooms and their bookings, for many companies: what a team writes to use the tenancy crates for its own domain.
//!
//! * [`schema`]: the domain's migrations, which every new tenant gets;
//! * [`store`]: its SQL, in functions that take a `&mut TenantTx`;
//! * [`routes`]: its endpoints, on a [`TenantRouter`], which no request reaches without a verified tenant.
//!
//! Everything else (who the tenants are, their keys, roles and connections) is the crates' business.

pub mod store;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use tenantry_http::{ApiJson, ApiPath, HttpConfig, Problem, TenancyState, TenantRouter, TenantScope, codes, harden};
use tenantry_postgres::migrate::{MigrationSet, Scope};
use tenantry_postgres::{DbError, TenantDb, TenantSchema};
use uuid::Uuid;

use store::{Booking, NewBooking, NewRoom, Room};

/// The domain's tables.
#[must_use]
pub fn schema() -> TenantSchema {
    let files = [
        ("0001_rooms.sql", include_str!("../migrations/0001_rooms.sql")),
        ("0002_bookings.sql", include_str!("../migrations/0002_bookings.sql")),
        ("0002_bookings.down.sql", include_str!("../migrations/0002_bookings.down.sql")),
    ];
    let migrations = MigrationSet::new(Scope::Tenant, &files).expect("the files' names are a set");
    TenantSchema::replaying(migrations, &["rooms", "bookings"])
}

/// The complete router.
pub fn routes(tenancy: &TenancyState, config: &HttpConfig) -> Router {
    let tenants = TenantRouter::new()
        .get("/rooms", list_rooms)
        .post("/rooms", add_room)
        .get("/rooms/{room}/bookings", list_bookings)
        .post("/rooms/{room}/bookings", book);
    harden(tenants.protect(tenancy).with_state(tenancy.clone()), config)
}

async fn list_rooms(TenantScope(context): TenantScope, State(db): State<TenantDb>) -> Result<Json<Vec<Room>>, Problem> {
    let mut tx = db.single(&context).await?;
    Ok(Json(store::rooms(&mut tx).await?))
}

async fn add_room(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiJson(new): ApiJson<NewRoom>,
) -> Result<(StatusCode, Json<Room>), Problem> {
    let mut tx = db.begin(&context).await?;
    let room = store::add_room(&mut tx, new).await.map_err(refused)?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(room)))
}

async fn list_bookings(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(room): ApiPath<Uuid>,
) -> Result<Json<Vec<Booking>>, Problem> {
    let mut tx = db.single(&context).await?;
    Ok(Json(store::bookings(&mut tx, room).await?))
}

async fn book(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(room): ApiPath<Uuid>,
    ApiJson(new): ApiJson<NewBooking>,
) -> Result<(StatusCode, Json<Booking>), Problem> {
    let mut tx = db.begin(&context).await?;
    let booking = store::book(&mut tx, room, new).await.map_err(refused)?;
    let booking = booking.ok_or_else(|| Problem::of(&codes::CONFLICT).detail("the room is booked at that time"))?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(booking)))
}

/// What the tables refuse is the caller's mistake; everything else has its problem already.
fn refused(error: DbError) -> Problem {
    match error.sqlstate() {
        Some("23505") => Problem::of(&codes::CONFLICT).detail("a room has this name"),
        Some("23503") => Problem::of(&codes::VALIDATION_FAILED).detail("there is no such room"),
        Some("23514") => Problem::of(&codes::VALIDATION_FAILED).detail("a value is out of its range"),
        _ => error.into(),
    }
}
