//! The errors of the metering that a caller can meet, for the error reference.

pub use tenantry_http::codes::VALIDATION_FAILED;

tenantry_http::error_codes! {
    INVALID_BILL = 422 "invalid_bill" "Invalid bill":
        "lines of the file cannot be read as what the provider bills, so none of it is imported",
        "correct the lines that `errors` names, or name the `format` that the file has";
    INVALID_CATALOGUE = 422 "invalid_catalogue" "Invalid price catalogue":
        "the catalogue breaks a rule: an amount that is not exact, a price without a source, two prices at one time, a name twice",
        "correct what `flaws` names, line by line; `tenantry prices check FILE` says the same without a server";
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
    METERING_UNAVAILABLE = 503 "metering_unavailable" "Metering is unavailable":
        "the server cannot write to the disk that holds calls until the database has them, so it takes none",
        "try again later; the server's log says what its disk refuses";
    PROVIDER_CALL_NOT_FOUND = 404 "provider_call_not_found" "Provider call not found":
        "no call of this tenant has the id: it was never recorded, is not shipped yet, or is older than calls are kept",
        "list the calls with `GET /v1/provider-calls`; one that was recorded just now appears within seconds";
    STATEMENT_NOT_FOUND = 404 "statement_not_found" "Statement not found":
        "the month has not begun",
        "ask for the present month or an earlier one";
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
    BUDGET_EXHAUSTED = 402 "budget_exhausted" "Budget used up":
        "a hard budget of the company, the agent or the key has not enough left for what the call may cost; `limit_name` and `budget_id` name it",
        "wait until `resets_at`, raise the budget's limit, or send a call that may cost less, such as one with fewer output tokens";
    BUDGET_NAME_TAKEN = 409 "budget_name_taken" "Budget name taken":
        "another budget of the company has this name",
        "choose another name, or change the other budget";
    BUDGET_NEEDS_PRICE = 402 "budget_needs_price" "Budget cannot be kept":
        "the model has no price, a hard budget holds for the call, and the server's operator has set that such calls are refused",
        "use a model that has a price, or give it one with `POST /v1/prices/overrides`";
    BUDGET_NOT_FOUND = 404 "budget_not_found" "Budget not found":
        "the company has no budget with this id",
        "list the budgets and check the id";
    BUDGET_WITHOUT_WEBHOOK = 409 "budget_without_webhook" "Budget without webhook":
        "the budget has no address to post to",
        "give it a `webhook_url` with a `webhook_secret`";
    BUDGETS_UNAVAILABLE = 503 "budgets_unavailable" "Budgets unavailable":
        "the database cannot be asked what is left of a hard budget, and the server holds nothing of it any more, so the call is refused",
        "try again later; for operators: `metering.budgets.when_unknown` decides";
    TOO_MANY_BUDGETS = 409 "too_many_budgets" "Too many budgets":
        "the company has as many budgets as there may be; `limit` tells how many",
        "delete some that are not needed any more";
    UNKNOWN_SCOPE = 422 "unknown_scope" "Unknown scope":
        "`scope_id` names no live agent or no key of the company that is not revoked",
        "list the agents or the keys and check the id";
}
