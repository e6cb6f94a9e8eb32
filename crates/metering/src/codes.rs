//! The errors of the metering that a caller can meet, for the error reference.

pub use tenantry_http::codes::VALIDATION_FAILED;

tenantry_http::error_codes! {
    INVALID_CATALOGUE = 422 "invalid_catalogue" "Invalid price catalogue":
        "the catalogue breaks a rule: an amount that is not exact, a price without a source, two prices at one time, a name twice",
        "correct what `flaws` names, line by line; `tenantry prices check FILE` says the same without a server";
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
    METERING_UNAVAILABLE = 503 "metering_unavailable" "Metering is unavailable":
        "the server cannot write to the disk that holds calls until the database has them, so it takes none",
        "try again later; the server's log says what its disk refuses";
    PROVIDER_CALL_NOT_FOUND = 404 "provider_call_not_found" "Provider call not found":
        "no call of this tenant has the id: it was never recorded, is not shipped yet, or is older than calls are kept",
        "list the calls with `GET /v1/provider-calls`; one that was recorded just now appears within seconds";
    TIMESTAMP_IN_FUTURE = 422 "timestamp_in_future" "Timestamp in the future":
        "the call is said to have begun more than five minutes from now",
        "send the time at which the call began, in UTC, and check the clock that it is from";
    TIMESTAMP_TOO_OLD = 422 "timestamp_too_old" "Timestamp too old":
        "the call began longer ago than single calls are kept, so it can no longer be counted",
        "record calls within 90 days; what is older is for a bill, not for the metering";
    PRICE_OVERRIDE_NOT_FOUND = 404 "price_override_not_found" "Price override not found":
        "the company has no price override with this id",
        "list the overrides and check the id";
    PRICE_OVERRIDE_OVERLAPS = 409 "price_override_overlaps" "Price override overlaps":
        "another override for the same provider, model and account is valid in a part of the same time",
        "end the time of the new one earlier, or remove the override in `override_id` first";
    TOO_MANY_PRICE_OVERRIDES = 422 "too_many_price_overrides" "Too many price overrides":
        "a company may have 500 price overrides",
        "remove those whose time is over, or let one stand for several models: names may end with `*`";
}
