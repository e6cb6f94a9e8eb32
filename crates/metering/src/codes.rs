//! The errors of the metering that a caller can meet, for the error reference.

pub use tenantry_http::codes::VALIDATION_FAILED;

tenantry_http::error_codes! {
    BUDGETS_UNAVAILABLE = 503 "budgets_unavailable" "Budgets unavailable":
        "the database cannot be asked what is left of a hard budget, and the server holds nothing of it any more, so the call is refused",
        "try again later; for operators: `metering.budgets.when_unknown` decides";
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
    EXPORT_RUNNING = 429 "export_running" "An export is running":
        "the tenant has an export on its way from this server already; one at a time is made, as each reads for as long as its reader takes",
        "wait until it has ended, then ask again";
    GATEWAY_BUSY = 503 "gateway_busy" "Gateway busy":
        "the server makes as many calls to providers as it may, or is stopping",
        "try again later; operators raise `metering.gateway.max_calls`";
    INVALID_ATTRIBUTION = 400 "invalid_attribution" "Invalid header of a call":
        "a header `X-Tenantry-…` of a call to a provider is not what it must be",
        "see `message`; agent, session and task are UUIDs";
    INVALID_BILL = 422 "invalid_bill" "Invalid bill":
        "lines of the file cannot be read as what the provider bills, so none of it is imported",
        "correct the lines that `errors` names, or name the `format` that the file has";
    INVALID_CALL = 400 "invalid_call" "Invalid call":
        "the body of a call to a provider is not a JSON object, so nobody could say what it may cost; or its query holds a tenant's key",
        "send what the provider's API asks for";
    INVALID_CATALOGUE = 422 "invalid_catalogue" "Invalid price catalogue":
        "the catalogue breaks a rule: an amount that is not exact, a price without a source, two prices at one time, a name twice",
        "correct what `flaws` names, line by line; `tenantry prices check FILE` says the same without a server";
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
    METERING_UNAVAILABLE = 503 "metering_unavailable" "Metering is unavailable":
        "the server cannot write to the disk that holds calls until the database has them, so it takes none",
        "try again later; the server's log says what its disk refuses";
    NO_PROVIDER_ACCOUNT = 422 "no_provider_account" "No provider account":
        "the company has no active account to make the call with, or the one that `X-Tenantry-Account` names cannot be used for it",
        "make an account with `POST /v1/provider-accounts`, or name another one";
    PRICE_OVERRIDE_NOT_FOUND = 404 "price_override_not_found" "Price override not found":
        "the company has no price override with this id",
        "list the overrides and check the id";
    PRICE_OVERRIDE_OVERLAPS = 409 "price_override_overlaps" "Price override overlaps":
        "another override for the same provider, model and account is valid in a part of the same time",
        "end the time of the new one earlier, or remove the override in `override_id` first";
    PROVIDER_ADDRESS_REFUSED = 422 "provider_address_refused" "Provider's address refused":
        "`account_meta.base_url` of the account is not the HTTPS address of a public host",
        "give the account the address of its API; the operator can configure others in `metering.gateway.upstreams`";
    PROVIDER_CALL_NOT_FOUND = 404 "provider_call_not_found" "Provider call not found":
        "no call of this tenant has the id: it was never recorded, is not shipped yet, or is older than calls are kept",
        "list the calls with `GET /v1/provider-calls`; one that was recorded just now appears within seconds";
    PROVIDER_TIMEOUT = 504 "provider_timeout" "Provider timed out":
        "the provider did not answer within the server's time limit; it may have to be paid all the same",
        "ask for less, or for a stream; operators raise `metering.gateway.first_byte_timeout`";
    PROVIDER_UNREACHABLE = 502 "provider_unreachable" "Provider unreachable":
        "no connection to the provider was made, or it broke before the answer was whole; `message` says which",
        "try again later; the call is recorded with what it may have cost";
    ROI_NOT_COMPUTABLE = 409 "roi_not_computable" "Nothing to compare":
        "no call of the period has a baseline, because the catalogue has no prices for the models, or all baselines are zero",
        "choose another period, or have the models priced";
    STATEMENT_NOT_FOUND = 404 "statement_not_found" "Statement not found":
        "the month has not begun",
        "ask for the present month or an earlier one";
    TIMESTAMP_IN_FUTURE = 422 "timestamp_in_future" "Timestamp in the future":
        "the call is said to have begun more than five minutes from now",
        "send the time at which the call began, in UTC, and check the clock that it is from";
    TIMESTAMP_TOO_OLD = 422 "timestamp_too_old" "Timestamp too old":
        "the call began longer ago than single calls are kept, so it can no longer be counted",
        "record calls within 90 days; what is older is for a bill, not for the metering";
    TOO_MANY_BUDGETS = 409 "too_many_budgets" "Too many budgets":
        "the company has as many budgets as there may be; `limit` tells how many",
        "delete some that are not needed any more";
    TOO_MANY_CALLS = 422 "too_many_calls" "Too many calls":
        "the question needs each call of the period, and there are more than are read for one answer",
        "ask for a shorter period, or filter";
    TOO_MANY_PRICE_OVERRIDES = 422 "too_many_price_overrides" "Too many price overrides":
        "a company may have 500 price overrides",
        "remove those whose time is over, or let one stand for several models: names may end with `*`";
    UNKNOWN_ATTRIBUTION = 422 "unknown_attribution" "Unknown agent, session or task":
        "a header of a call names an agent, a session or a task that the company does not have",
        "name one of the company's own, or leave the header out";
    UNKNOWN_SCOPE = 422 "unknown_scope" "Unknown scope":
        "`scope_id` names no live agent or no key of the company that is not revoked",
        "list the agents or the keys and check the id";
    UNMETERED_CALL = 400 "unmetered_call" "Call cannot be metered":
        "the call asks for work that goes on after its answer, so no answer tells what it cost",
        "leave `background` out";
}
