//! The errors of accounts and credentials that a caller can meet.

tenantry_http::error_codes! {
    PROVIDER_ACCOUNT_NOT_FOUND = 404 "provider_account_not_found" "Provider account not found":
        "the company has no provider account with this id",
        "list the provider accounts and check the id";
    CREDENTIAL_NOT_FOUND = 404 "credential_not_found" "Credential not found":
        "the company has no credential with this name",
        "list the credentials and check the name";
    CREDENTIAL_NAME_TAKEN = 409 "credential_name_taken" "Credential name taken":
        "another credential of the company has this name",
        "choose another name, or give the other credential a new value";
    PROVIDER_ACCOUNT_IN_USE = 409 "provider_account_in_use" "Provider account in use":
        "tasks name the account, so its row has to stay",
        "revoke it: its secrets are removed and it cannot be used any more";
    PROVIDER_ACCOUNT_REVOKED = 409 "provider_account_revoked" "Provider account revoked":
        "the account was revoked, which is for good",
        "make another account";
    AGENT_NOT_ALLOWED = 403 "agent_not_allowed" "Agent not allowed":
        "the agent is not among those that may use the credential, or is deleted",
        "use another agent, or add this one to `allowed_agents`";
    OAUTH_PROVIDER_UNKNOWN = 422 "oauth_provider_unknown" "Provider not configured":
        "the server's operator has configured no authorization for this provider",
        "make the account with an access token of your own, or ask the operator";
    OAUTH_STATE_INVALID = 400 "oauth_state_invalid" "Authorization not valid":
        "the provider's answer belongs to no authorization that is under way: it was answered before, is too old, or comes from another provider",
        "begin again with `POST /v1/provider-accounts/oauth/start`";
    OAUTH_DENIED = 400 "oauth_denied" "Authorization denied":
        "the provider has not given the authorization; `provider_error` is its word for it",
        "begin again and agree at the provider";
    OAUTH_EXCHANGE_FAILED = 502 "oauth_exchange_failed" "Authorization failed at the provider":
        "the provider did not give tokens for its answer",
        "begin again; for operators: the log has the provider's reason";
    EGRESS_REFUSED = 403 "egress_refused" "Address refused":
        "the service is not on the server's list of hosts, or its name leads to an address that is not public",
        "use a public service; the operator can add hosts to `egress.allowed_hosts`";
    SERVICE_UNREACHABLE = 502 "service_unreachable" "Service unreachable":
        "the service cannot be reached over HTTPS, or its certificate is not valid for its name",
        "check `service`, and try again later";
    SERVICE_ANSWER_REFUSED = 502 "service_answer_refused" "Service's answer refused":
        "the service's answer is larger than the server takes, or is compressed although it was asked not to be",
        "ask the service for less at once";
    SERVICE_TIMEOUT = 504 "service_timeout" "Service timed out":
        "the service did not answer within the server's time limit; whether it has done what was asked is not known",
        "look at the service before you repeat a change";
    SECRETS_UNAVAILABLE = 503 "secrets_unavailable" "Secrets unavailable":
        "the server has no master key, or the one who keeps it does not answer, so secrets can be neither stored nor used",
        "try again later; for operators: `tenantry doctor` and the log say which (docs/guides/secrets.md)";
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_are_nobody_elses() {
        let others = || tenantry_http::codes::CODES.iter().chain(crate::codes::CODES);
        for code in super::CODES {
            assert!(others().all(|other| other.code != code.code), "{}", code.code);
        }
    }
}
