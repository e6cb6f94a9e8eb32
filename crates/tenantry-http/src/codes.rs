//! Every error a caller can meet, in one table.
//!
//! A code never changes its meaning. The table is the source of the error reference (see [`markdown`])
//! and of the constants from which the problems of this crate are built.

use std::fmt::Write as _;

/// One error: what a caller reads, and what the reference says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    /// The stable name, `snake_case`.
    pub code: &'static str,
    /// The HTTP status it comes with.
    pub status: u16,
    /// The same sentence on every occurrence; the body's `title` and `error`.
    pub title: &'static str,
    /// How it comes about.
    pub cause: &'static str,
    /// What the caller or the operator can do.
    pub fix: &'static str,
}

/// Declares error codes as constants and collects them in a `CODES` table, so that none can be forgotten.
///
/// ```
/// tenantry_http::error_codes! {
///     VERSION_CONFLICT = 409 "version_conflict" "The record has changed":
///         "somebody else has changed the record since it was read",
///         "read it again and repeat the change";
/// }
/// assert_eq!(CODES, &[VERSION_CONFLICT]);
/// ```
#[macro_export]
macro_rules! error_codes {
    ($($name:ident = $status:literal $code:literal $title:literal: $cause:literal, $fix:literal;)+) => {
        $(
            #[doc = concat!("`", $code, "` (", stringify!($status), "): ", $cause, ".")]
            pub const $name: $crate::codes::ErrorCode = $crate::codes::ErrorCode {
                code: $code, status: $status, title: $title, cause: $cause, fix: $fix,
            };
        )+
        /// Every code declared here, in the order of declaration.
        pub const CODES: &[$crate::codes::ErrorCode] = &[$($name),+];
    };
}

error_codes! {
    TENANT_IDENTIFIER_REQUIRED = 400 "tenant_identifier_required" "Tenant identifier required":
        "the request names no tenant and carries no credential",
        "use the tenant's subdomain or the `X-Tenant-Slug` header, together with a credential of that tenant";
    INVALID_TENANT_IDENTIFIER = 400 "invalid_tenant_identifier" "Invalid tenant identifier":
        "`X-Tenant-Slug` was sent more than once or does not hold a slug",
        "send the header once, with 1 to 63 of `a-z`, `0-9` and `-`";
    INVALID_HOST = 400 "invalid_host" "Invalid host":
        "the `Host` header (or a trusted proxy's `X-Forwarded-Host`) is missing, is not a host or was sent more than once",
        "send one host name with an optional port";
    CONFLICTING_CREDENTIALS = 400 "conflicting_credentials" "Conflicting credentials":
        "the request carries two different credentials",
        "send one credential, in `Authorization: Bearer` or in `X-Api-Key`";
    TENANT_CONTEXT_REQUIRED = 401 "tenant_context_required" "Tenant context required":
        "a tenant's endpoint was reached without a verified tenant context",
        "send a credential of the tenant; if you did, the route is mounted without the tenant layer";
    CREDENTIAL_REQUIRED = 401 "credential_required" "Tenant context required":
        "the request names a tenant but carries no credential",
        "send an API key or a token of that tenant in `Authorization: Bearer` or a key in `X-Api-Key`";
    OPERATOR_CREDENTIAL_REQUIRED = 401 "operator_credential_required" "Operator credential required":
        "a control plane endpoint was called without an operator's token",
        "send an operator token (`top_…`) in `Authorization: Bearer`";
    INVALID_CREDENTIAL = 401 "invalid_credential" "Invalid credential":
        "the key or token is malformed, unknown, expired, revoked or not signed by a trusted key",
        "check that the credential is complete and current; create a new key or sign in again";
    INVALID_TENANT = 403 "invalid_tenant" "Invalid or inactive tenant":
        "the credential is good but names a tenant that does not exist",
        "check the tenant's slug in the token's claim";
    TENANT_INACTIVE = 403 "tenant_inactive" "Invalid or inactive tenant":
        "the tenant is suspended or deleted",
        "ask the platform's operator; a suspended tenant can be resumed, a deleted one restored within its grace period";
    TENANT_MISMATCH = 403 "tenant_mismatch" "Invalid or inactive tenant":
        "host, `X-Tenant-Slug` and credential do not all name the same tenant",
        "use the credential of the tenant that the request names; the attempt has been recorded";
    ORIGIN_REFUSED = 403 "origin_refused" "Origin refused":
        "a browser asks whether a page may call the API, and the page is not of an origin that may",
        "serve the page over https from a domain of the tenant; for development, the operator can name the origin in `http.cors_origins`";
    PERMISSION_DENIED = 403 "permission_denied" "Permission denied":
        "the credential is the tenant's, but its role or its scopes do not include what the operation needs",
        "use a key with the scope that `permission` names, or ask an admin of the tenant for a role that has it";
    NOT_A_MEMBER = 403 "not_a_member" "Not a member":
        "the token is the tenant's, but its subject is none of the tenant's members, and the server lets members in only",
        "ask an admin of the tenant to add the `subject` of the token as a member";
    TOO_MANY_STREAMS = 429 "too_many_streams" "Too many streams":
        "the tenant, or the whole server, has as many streams of events open as it may",
        "close streams that nobody reads, or share one between several readers; then connect again";
    NOT_FOUND = 404 "route_not_found" "Not found":
        "no endpoint has this path",
        "check the path against `/openapi.json`";
    METHOD_NOT_ALLOWED = 405 "method_not_allowed" "Method not allowed":
        "the endpoint exists but not with this method",
        "use a method of the `Allow` header";
    BODY_TOO_LARGE = 413 "body_too_large" "Request body too large":
        "the request's body is larger than the server accepts",
        "send less at once; the operator can raise the body limit";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported_media_type" "Unsupported media type":
        "the endpoint reads JSON and the request does not say that it sends any, or sends it compressed",
        "send `Content-Type: application/json`, and the body as it is";
    INVALID_JSON = 400 "invalid_json" "Invalid JSON":
        "the body is not JSON",
        "check the body at the line and column that `detail` names";
    UNREADABLE_BODY = 400 "unreadable_body" "Unreadable body":
        "the connection broke, or the body ended before its announced length",
        "repeat the request";
    INVALID_BODY = 422 "invalid_body" "Invalid body":
        "the body is JSON but not what the endpoint expects",
        "correct the members that `errors` points to";
    INVALID_QUERY = 400 "invalid_query" "Invalid query":
        "a query parameter is missing, unknown or has no acceptable value",
        "correct the parameter that `errors` names";
    INVALID_PATH = 400 "invalid_path" "Invalid path parameter":
        "a part of the path has not the shape that the endpoint expects, such as an id that is not a UUID",
        "correct the part that `detail` names";
    INVALID_CURSOR = 400 "invalid_cursor" "Invalid cursor":
        "the cursor is damaged, or comes from another list or from another order of this one",
        "pass `next_cursor` unchanged to the list it came from, or start again without one";
    INVALID_PRECONDITION = 400 "invalid_precondition" "Invalid precondition":
        "`If-Match` is not an `ETag` of this server, or names another version than `version` does",
        "send the `ETag` as it was received, or only `version`";
    INVALID_IDEMPOTENCY_KEY = 400 "invalid_idempotency_key" "Invalid idempotency key":
        "`Idempotency-Key` was sent more than once, is longer than 255 characters or holds more than visible ASCII",
        "send one key, such as a UUID, and the same one when the same request is repeated";
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency_key_reused" "Idempotency key reused":
        "the key was used within the last day for a request with another path or body",
        "repeat a request unchanged, byte for byte; use a new key for a new one";
    REQUEST_IN_PROGRESS = 409 "request_in_progress" "Request in progress":
        "the same request, with the same `Idempotency-Key`, is being worked on, or a server was killed while it was",
        "repeat it with the same key after `Retry-After` seconds; its answer is there when it is done, and after a server's end it is done again within a minute or so";
    VERSION_REQUIRED = 428 "version_required" "Version required":
        "a change does not say which version of the record it is based on",
        "send the `version` that was read, as a member of the body or as `If-Match` with the `ETag`";
    VERSION_CONFLICT = 409 "version_conflict" "Record has changed":
        "the record was changed since it was read; `current` holds it as it is now",
        "decide again on what `current` holds and repeat the change with its version";
    CONFLICT = 409 "conflict" "Conflict":
        "the change collides with something that exists",
        "see `detail`, then read the current state and decide again";
    TENANT_EXISTS = 409 "tenant_exists" "Tenant exists":
        "the slug, or the schema made from it, belongs to a tenant already, perhaps a deleted one in its grace period",
        "choose another slug, or restore the deleted tenant";
    DOMAIN_TAKEN = 409 "domain_taken" "Domain taken":
        "the custom host belongs to another tenant",
        "remove it there first";
    TENANT_NOT_FOUND = 404 "tenant_not_found" "Tenant not found":
        "no tenant has this slug (control plane only)",
        "list the tenants and check the slug";
    KEY_NOT_FOUND = 404 "key_not_found" "API key not found":
        "the tenant has no key with this id",
        "list the tenant's keys and check the id";
    MEMBER_NOT_FOUND = 404 "member_not_found" "Member not found":
        "the tenant has no member with this id",
        "list the members and check the id";
    MEMBER_EXISTS = 409 "member_exists" "Member exists":
        "the subject is a member of the tenant already",
        "change the role of the member that is there";
    LAST_OWNER = 409 "last_owner" "Last owner":
        "the member is the tenant's last owner, and without one nobody could make owners",
        "make another member an owner first";
    PLAN_NOT_FOUND = 404 "plan_not_found" "Plan not found":
        "no plan has this name (control plane only)",
        "list the plans and check the name";
    PLAN_EXISTS = 409 "plan_exists" "Plan exists":
        "a plan has this name already",
        "choose another name, or change the plan that is there";
    PLAN_IN_USE = 409 "plan_in_use" "Plan in use":
        "tenants are on the plan, perhaps deleted ones in their grace period",
        "give these tenants another plan first";
    STRIPE_NOT_CONFIGURED = 404 "stripe_not_configured" "Stripe is not configured":
        "the server has no signing secret for webhooks of Stripe, so it takes none",
        "for operators: name the file of the endpoint's secret in `stripe.webhook_secret_files`";
    INVALID_SIGNATURE = 400 "invalid_signature" "Invalid signature":
        "`Stripe-Signature` is missing, is not made with one of the endpoint's secrets, or is too old",
        "for operators: compare the endpoint's signing secret with the settings, and the server's clock with the real time";
    OPERATOR_NOT_FOUND = 404 "operator_not_found" "Operator not found":
        "no operator's token has this id (control plane only)",
        "list the operators and check the id";
    OPERATOR_EXISTS = 409 "operator_exists" "Operator exists":
        "a token with this name exists, perhaps a revoked one; the audit trail names operators, so a name is given once",
        "choose another name";
    LAST_OPERATOR = 409 "last_operator" "Last operator":
        "the token is the last valid one of an admin, and without it nobody could change the control plane",
        "create another operator with the role `admin` first, or revoke it at the command line";
    INVALID_TRANSITION = 409 "invalid_transition" "Invalid status change":
        "the tenant's lifecycle has no such step from its present status",
        "see `detail` for the present status";
    NOT_PURGEABLE = 409 "not_purgeable" "Tenant cannot be purged":
        "the tenant is not deleted, or its grace period has not passed",
        "delete the tenant first, or wait until the grace period ends";
    CONFIRMATION_REQUIRED = 422 "confirmation_required" "Confirmation required":
        "the request destroys data and does not say that this is meant",
        "repeat the tenant's slug as `confirm` in the body";
    VALIDATION_FAILED = 422 "validation_failed" "Validation failed":
        "members of the body have the right type but break their rules",
        "correct the members that `errors` points to";
    STORAGE_FROZEN = 402 "storage_frozen" "Storage is used up":
        "the tenant's data is as large as its plan allows; it can be read and deleted, and nothing can be added or changed",
        "ask the platform's operator for more storage; writes are taken again within a second when the limit is raised, or with the next measurement below 95 % of it";
    RATE_LIMITED = 429 "rate_limited" "Too many requests":
        "the tenant or the API key (`scope`) sent more requests a minute than it may",
        "wait for `Retry-After` seconds, and send at the pace that the `RateLimit-*` headers allow; ask for a larger plan where that is too slow";
    TOO_MANY_FAILED_CREDENTIALS = 429 "too_many_failed_credentials" "Too many failed credentials":
        "so many invalid credentials came from this address that more are refused unchecked for a while",
        "wait for `Retry-After` seconds and use a valid credential; for operators: behind a proxy, `http.trusted_proxies` must name it, or all callers have its address";
    INTERNAL_ERROR = 500 "internal_error" "Internal server error":
        "a defect of the server; details are in its log under the request id",
        "tell the operator the request id";
    TENANT_CONTEXT_FAILED = 500 "tenant_context_failed" "Tenant context initialization failed":
        "the server could not prepare the tenant's context; details are in its log under the request id",
        "tell the operator the request id";
    SCOPE_REFUSED = 500 "scope_refused" "Internal server error":
        "the database refused a statement by role or row level security (SQLSTATE 42501); counted as a cross-tenant attempt",
        "for operators: look the request id up in the log; the statement reached for something outside the tenant";
    POOL_EXHAUSTED = 503 "pool_exhausted" "Too many requests at once":
        "no database connection became free in time for this tenant, its cell or the process",
        "wait for `Retry-After` seconds; the operator can raise the limit that the log names";
    LOCK_TIMEOUT = 503 "lock_timeout" "Record is locked":
        "another transaction held a lock for too long, or a deadlock was broken",
        "wait for `Retry-After` seconds and repeat the request";
    DATABASE_UNAVAILABLE = 503 "database_unavailable" "Database unavailable":
        "the database cannot be reached or is restarting",
        "wait for `Retry-After` seconds; the server reconnects by itself";
    REGISTRY_UNAVAILABLE = 503 "registry_unavailable" "Registry unavailable":
        "the server cannot know whether the tenant is still served, and refuses rather than guesses",
        "wait for `Retry-After` seconds; for operators: `/ready` names the reason";
    TENANT_SCHEMA_BEHIND = 503 "tenant_schema_behind" "Tenant is being migrated":
        "the tenant's schema is older than this server needs: its migration is not done yet, or failed",
        "wait for `Retry-After` seconds; for operators: `tenantry migrate status` names the tenants behind, `tenantry migrate up` brings them on";
    TOKEN_KEYS_UNAVAILABLE = 503 "token_keys_unavailable" "Token keys unavailable":
        "the identity provider's keys (JWKS) cannot be fetched and no recent ones are held",
        "wait for `Retry-After` seconds; for operators: check the JWKS endpoint";
    REQUEST_TIMEOUT = 504 "request_timeout" "Request timed out":
        "the request was not answered within the server's time limit and was cancelled",
        "ask for less at once; read the state again before you repeat a change";
    QUERY_TIMEOUT = 504 "query_timeout" "Query timed out":
        "a statement ran past the tenant's statement timeout and was stopped",
        "ask for less at once, or narrow the filter";
}

/// The reference page of one or more tables, as Markdown, ordered by status and code.
#[must_use]
pub fn markdown(tables: &[&[ErrorCode]]) -> String {
    let mut codes: Vec<&ErrorCode> = tables.iter().flat_map(|table| table.iter()).collect();
    codes.sort_by_key(|code| (code.status, code.code));
    let mut page = String::from(
        "# Error codes\n\nEvery error body is a problem document (RFC 9457, `application/problem+json`). `code` is stable; \
         `error` repeats `title`, `message` says what happened this time, `request_id` finds it in the log.\n",
    );
    for ErrorCode { code, status, title, cause, fix } in codes {
        // writing to a string does not fail
        let _ = write!(page, "\n## {code}\n\n**{status} {title}**\n\n*Cause:* {cause}.\n\n*What to do:* {fix}.\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::PathBuf;

    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for code in CODES {
            assert!(seen.insert(code.code), "{} twice", code.code);
            assert!(code.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", code.code);
            let status = StatusCode::from_u16(code.status).unwrap();
            assert!(status.is_client_error() || status.is_server_error(), "{}", code.code);
            assert!(!code.cause.ends_with('.') && !code.fix.ends_with('.'), "{}: no full stop", code.code);
            assert!(code.title.starts_with(char::is_uppercase), "{}", code.code);
        }
    }

    /// Problems are made from the table, so it is complete as long as nobody makes one by hand.
    #[test]
    fn no_module_makes_a_problem_outside_the_table() {
        let needle = ["Problem", "::new("].concat();
        let mut places = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(place) = places.pop() {
            if place.is_dir() {
                places.extend(std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&place).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>();
            assert!(!code.contains(&needle), "{} makes a problem by hand: use Problem::of", place.display());
        }
    }
}
