//! The errors of the metering that a caller can meet, for the error reference.

tenantry_http::error_codes! {
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
}
