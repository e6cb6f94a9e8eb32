//! What every test on PostgreSQL needs: a database of its own, cloned from a template, with tenants in it.
//!
//! Tests run on the server that `TENANTRY_TEST_DATABASE_URL` names (a superuser's URL). `with-postgres`
//! starts a throwaway one and sets it; `make test` does that for you.

mod database;
mod full_disk;
pub mod upstream;
mod world;

pub use database::{SECRET, TestDatabase, admin_client, alone, server_url, url_for};
pub use full_disk::FullDisk;
pub use world::{World, WorldConfig};
