//! The domain's SQL. `tenant.` stands for the schema of the transaction's tenant.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use uuid::Uuid;

statements! {
    /// All rooms.
    ROOMS() = "SELECT id, name, seats FROM tenant.rooms ORDER BY name";
    /// A new room.
    ADD_ROOM(UUID, TEXT, INT4) = "INSERT INTO tenant.rooms (id, name, seats) VALUES ($1, $2, $3)";
    /// Holds a room until the commit, so that two bookings do not both find it free.
    HOLD_ROOM(UUID) = "SELECT FROM tenant.rooms WHERE id = $1 FOR UPDATE";
    /// A room's bookings.
    BOOKINGS(UUID) =
        "SELECT id, title, starts_at, ends_at FROM tenant.bookings WHERE room_id = $1 ORDER BY starts_at, id";
    /// A new booking, unless another overlaps it.
    BOOK(UUID, UUID, TEXT, TIMESTAMPTZ, TIMESTAMPTZ) =
        "INSERT INTO tenant.bookings (id, room_id, title, starts_at, ends_at) SELECT $1, $2, $3, $4, $5 \
         WHERE NOT EXISTS (SELECT FROM tenant.bookings WHERE room_id = $2 AND starts_at < $5 AND ends_at > $4)";
}

/// A room.
#[derive(Debug, Serialize)]
pub struct Room {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// How many may sit in it.
    pub seats: i32,
}

/// A room to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRoom {
    name: String,
    seats: i32,
}

/// A booking.
#[derive(Debug, Serialize)]
pub struct Booking {
    /// Its id.
    pub id: Uuid,
    /// What for.
    pub title: String,
    /// From.
    pub starts_at: DateTime<Utc>,
    /// To.
    pub ends_at: DateTime<Utc>,
}

/// A booking to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBooking {
    title: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

/// All rooms, by name.
pub async fn rooms(tx: &mut TenantTx) -> Result<Vec<Room>, DbError> {
    let room = |row: &Row| Room { id: row.get("id"), name: row.get("name"), seats: row.get("seats") };
    Ok(tx.query(&ROOMS, &[]).await?.iter().map(room).collect())
}

/// Adds a room.
pub async fn add_room(tx: &mut TenantTx, new: NewRoom) -> Result<Room, DbError> {
    let room = Room { id: Uuid::now_v7(), name: new.name, seats: new.seats };
    tx.execute(&ADD_ROOM, &[&room.id, &room.name, &room.seats]).await?;
    tx.audit("room.create", &format!("room/{}", room.id), serde_json::json!({}));
    Ok(room)
}

/// A room's bookings in the order of time.
pub async fn bookings(tx: &mut TenantTx, room: Uuid) -> Result<Vec<Booking>, DbError> {
    let booking = |row: &Row| Booking {
        id: row.get("id"),
        title: row.get("title"),
        starts_at: row.get("starts_at"),
        ends_at: row.get("ends_at"),
    };
    Ok(tx.query(&BOOKINGS, &[&room]).await?.iter().map(booking).collect())
}

/// Books a room; `None` when it is taken at that time.
pub async fn book(tx: &mut TenantTx, room: Uuid, new: NewBooking) -> Result<Option<Booking>, DbError> {
    tx.query(&HOLD_ROOM, &[&room]).await?;
    let NewBooking { title, starts_at, ends_at } = new;
    let booking = Booking { id: Uuid::now_v7(), title, starts_at, ends_at };
    let params: [&(dyn tenantry_postgres::ToSql + Sync); 5] =
        [&booking.id, &room, &booking.title, &booking.starts_at, &booking.ends_at];
    if tx.execute(&BOOK, &params).await? == 0 {
        return Ok(None);
    }
    tx.audit("booking.create", &format!("booking/{}", booking.id), serde_json::json!({ "room": room }));
    Ok(Some(booking))
}
