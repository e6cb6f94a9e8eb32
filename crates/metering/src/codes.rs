//! The errors of the metering that a caller can meet, for the error reference.

tenantry_http::error_codes! {
    BUDGET_EXHAUSTED = 402 "budget_exhausted" "Budget used up":
        "a hard budget of the company, the agent or the key has not enough left for what the call may cost; `limit_name` and `budget_id` name it",
        "wait until `resets_at`, raise the budget's limit, or send a call that may cost less, such as one with fewer output tokens";
    BUDGET_NAME_TAKEN = 409 "budget_name_taken" "Budget name taken":
        "another budget of the company has this name",
        "choose another name, or change the other budget";
    BUDGET_NEEDS_PRICE = 402 "budget_needs_price" "Budget cannot be kept":
        "the model has no price, a hard budget holds for the call, and the server's operator has set that such calls are refused",
        "use a model that has a price, or give it one with `POST /v1/prices`";
    BUDGET_NOT_FOUND = 404 "budget_not_found" "Budget not found":
        "the company has no budget with this id",
        "list the budgets and check the id";
    BUDGET_WITHOUT_WEBHOOK = 409 "budget_without_webhook" "Budget without webhook":
        "the budget has no address to post to",
        "give it a `webhook_url` with a `webhook_secret`";
    BUDGETS_UNAVAILABLE = 503 "budgets_unavailable" "Budgets unavailable":
        "the database cannot be asked what is left of a hard budget, and the server holds nothing of it any more, so the call is refused",
        "try again later; for operators: `metering.budgets.when_unknown` decides";
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
    TOO_MANY_BUDGETS = 409 "too_many_budgets" "Too many budgets":
        "the company has as many budgets as there may be; `limit` tells how many",
        "delete some that are not needed any more";
    UNKNOWN_SCOPE = 422 "unknown_scope" "Unknown scope":
        "`scope_id` names no live agent or no key of the company that is not revoked",
        "list the agents or the keys and check the id";
}
