use serde::Serialize;
use utoipa::ToSchema;

/// How a server's spool and its shipping are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct SpoolState {
    /// The directory, where this server has one.
    pub directory: String,
    /// The size of its files.
    pub bytes: u64,
    /// What they may be together.
    pub max_bytes: u64,
    /// Whether the last call was refused for that, or because the disk has no space.
    pub full: bool,
    /// Rows that are not in the database yet.
    pub records: u64,
    /// How long the oldest of them has waited, in seconds.
    pub oldest_age_seconds: f64,
    /// Calls that are under way.
    pub in_flight: u64,
    /// Rows that were shipped since the start, and that the database had not.
    pub shipped: u64,
    /// Rows that it had already.
    pub repeated: u64,
    /// Rows of tenants that were purged while they waited; they are dropped.
    pub purged: u64,
    /// Rows that it refuses for what they are; they lie in the file `rejected.jsonl`.
    pub rejected: u64,
    /// Calls that were taken for lost and shipped as unsettled.
    pub reaped: u64,
    /// Calls of these that ended all the same, and were corrected.
    pub late: u64,
    /// Bytes of records that could not be read any more.
    pub damaged_bytes: u64,
    /// Writes that the disk refused.
    pub write_errors: u64,
    /// Directories of other servers, which are gone, that were shipped.
    pub adopted: u64,
    /// From the start of a shipment to its commit, the last time, in seconds.
    pub last_shipment_seconds: f64,
    /// Since the last shipment that succeeded, or found nothing to do, in seconds.
    pub lag_seconds: f64,
    /// Why the last one failed, if it did.
    pub last_error: Option<String>,
}
