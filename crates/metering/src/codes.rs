//! The errors of the metering that a caller can meet, for the error reference.

pub use tenantry_http::codes::VALIDATION_FAILED;

tenantry_http::error_codes! {
    INVALID_CATALOGUE = 422 "invalid_catalogue" "Invalid price catalogue":
        "the catalogue breaks a rule: an amount that is not exact, a price without a source, two prices at one time, a name twice",
        "correct what `flaws` names, line by line; `tenantry prices check FILE` says the same without a server";
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
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
