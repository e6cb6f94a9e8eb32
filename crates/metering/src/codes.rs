//! The errors of the metering that a caller can meet, for the error reference.

tenantry_http::error_codes! {
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
    EXPORT_RUNNING = 429 "export_running" "An export is running":
        "the tenant has an export on its way from this server already; one at a time is made, as each reads for as long as its reader takes",
        "wait until it has ended, then ask again";
    ROI_NOT_COMPUTABLE = 409 "roi_not_computable" "Nothing to compare":
        "no call of the period has a baseline, because the catalogue has no prices for the models, or all baselines are zero",
        "choose another period, or have the models priced";
    TOO_MANY_CALLS = 422 "too_many_calls" "Too many calls":
        "the question needs each call of the period, and there are more than are read for one answer",
        "ask for a shorter period, or filter";
}
