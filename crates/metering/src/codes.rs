//! The errors of the metering that a caller can meet, for the error reference.

tenantry_http::error_codes! {
    INVALID_BILL = 422 "invalid_bill" "Invalid bill":
        "lines of the file cannot be read as what the provider bills, so none of it is imported",
        "correct the lines that `errors` names, or name the `format` that the file has";
    METERING_BACKLOG_FULL = 503 "metering_backlog_full" "Metering backlog is full":
        "the server holds as many calls as it may that the database has not taken yet, so it takes no more: none is dropped",
        "try again later; operators see the backlog in `GET /admin/v1/metering/health`";
    STATEMENT_NOT_FOUND = 404 "statement_not_found" "Statement not found":
        "the month has not begun",
        "ask for the present month or an earlier one";
}
