//! The errors of this domain that a caller can meet, for the error reference.

tenantry_http::error_codes! {
    AGENT_NOT_FOUND = 404 "agent_not_found" "Agent not found":
        "the company has no live agent with this id",
        "list the agents and check the id; `include_deleted=true` shows deleted ones";
    TASK_NOT_FOUND = 404 "task_not_found" "Task not found":
        "the company has no live task with this id",
        "list the tasks and check the id; `include_deleted=true` shows deleted ones";
    AGENT_NAME_TAKEN = 409 "agent_name_taken" "Agent name taken":
        "another live agent of the company has this name",
        "choose another name, or rename or delete the other agent";
    UNKNOWN_AGENT = 422 "unknown_agent" "Unknown agent":
        "the body names an agent that does not exist or is deleted",
        "name a live agent of the company";
    UNKNOWN_TASK = 422 "unknown_task" "Unknown task":
        "the body names a task that does not exist, is deleted, or is not this agent's",
        "name a live task of the agent, or give it the task first";
    UNKNOWN_PROVIDER_ACCOUNT = 422 "unknown_provider_account" "Unknown provider account":
        "the body names a provider account that does not exist",
        "name a provider account of the company, or leave the member out";
    ILLEGAL_TRANSITION = 409 "illegal_transition" "Illegal status change":
        "a task in its present status cannot take the status asked for, or a failed task has no retry left",
        "take one of the statuses in `allowed`; to retry once more, raise `max_retries`";
    QUOTA_EXCEEDED = 402 "quota_exceeded" "Quota exceeded":
        "the plan allows no more agents, or no more tasks this month; `limit_name`, `limit` and `used` say which",
        "remove what is not needed, wait for `resets_at` where there is one, or ask for a larger plan";
    TOO_MANY_RUNNING_TASKS = 429 "too_many_running_tasks" "Too many running tasks":
        "as many tasks are in progress as the plan allows at a time",
        "complete, block or cancel one and repeat the change, or ask for a larger plan";
    VALIDATION_FAILED = 422 "validation_failed" "Validation failed":
        "members of the body break their rules",
        "correct the members that `errors` points to";
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_do_not_meet_those_of_the_http_layer() {
        for code in super::CODES {
            assert!(tenantry_http::codes::CODES.iter().all(|other| other.code != code.code), "{}", code.code);
        }
    }
}
