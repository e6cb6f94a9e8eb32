//! The errors of this domain that a caller can meet, for the error reference.

pub use tenantry_http::codes::VALIDATION_FAILED;

tenantry_http::error_codes! {
    AGENT_NOT_FOUND = 404 "agent_not_found" "Agent not found":
        "the company has no live agent with this id",
        "list the agents and check the id; `include_deleted=true` shows deleted ones";
    TASK_NOT_FOUND = 404 "task_not_found" "Task not found":
        "the company has no live task with this id",
        "list the tasks and check the id; `include_deleted=true` shows deleted ones";
    SCHEDULE_NOT_FOUND = 404 "schedule_not_found" "Schedule not found":
        "the company has no live schedule with this id",
        "list the schedules and check the id; `include_deleted=true` shows deleted ones";
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
        "a task or a message in its present status cannot take the status asked for, or a failed task has no retry left",
        "take one of the statuses in `allowed`; to retry a task once more, raise `max_retries`";
    MESSAGE_NOT_FOUND = 404 "message_not_found" "Message not found":
        "the company has no live message with this id",
        "list the messages and check the id; `include_deleted=true` shows deleted ones";
    UNKNOWN_MESSAGE = 422 "unknown_message" "Unknown message":
        "the body names a message that does not exist, is deleted, or is not of the thread",
        "name a live message that one of the two agents wrote to the other";
    NOT_A_DRAFT = 409 "not_a_draft" "Not a draft":
        "only a message of type `external_draft` is approved or rejected",
        "nothing: what agents write to each other needs no approval";
    DRAFT_DECIDED = 409 "draft_decided" "Draft decided already":
        "the draft was approved or rejected before; a decision is made once",
        "see in `current` what was decided; write a new draft where it should be decided anew";
    MESSAGE_SEALED = 409 "message_sealed" "Message cannot be changed":
        "only a draft that waits for its approval can be changed",
        "write a new message or a new draft";
    ACTIVITY_NOT_FOUND = 404 "activity_not_found" "Activity not found":
        "the company's activity log has no entry with this id",
        "list the log and check the id";
    SESSION_NOT_FOUND = 404 "session_not_found" "Session not found":
        "the company has no session with this id",
        "list the sessions and check the id";
    SESSION_ENDED = 409 "session_ended" "Session has ended":
        "the session is over, and an ended session does not change",
        "see in `current` how it ended; start a new session for another run";
    SESSION_FULL = 409 "session_full" "Session is full":
        "the session holds as many tool calls or kinds of tokens as it can",
        "end the session and start another; counts of kinds that it has already can still be reported";
    DEPENDENCY_NOT_FOUND = 404 "dependency_not_found" "Dependency not found":
        "the task does not wait for the other one, not directly at least",
        "list the task's dependencies and check the ids";
    DEPENDENCY_CYCLE = 409 "dependency_cycle" "Dependency cycle":
        "the other task waits for this one already, directly or not, so neither could ever be started",
        "take away one of the dependencies along `cycle`, or leave this one out";
    DEPENDENCIES_NOT_DONE = 409 "dependencies_not_done" "Dependencies not done":
        "the task waits for others that are not completed, so it cannot be started",
        "complete the tasks in `dependencies`, or take away the dependencies on those that will not be completed any more";
    TASK_UNDER_WAY = 409 "task_under_way" "Task under way":
        "a task that is in progress or has ended cannot begin to wait for another",
        "set a task in progress to `blocked` first";
    TOO_MANY_DEPENDENCIES = 422 "too_many_dependencies" "Too many dependencies":
        "a task may depend on 100 others directly, and 1,000 may wait for one another in a row",
        "let one task stand for several, and depend on that";
    AGENT_OFFLINE = 409 "agent_offline" "Agent offline":
        "an agent that is offline asks for work",
        "set the agent's status to `idle` first";
    BULK_REJECTED = 422 "bulk_rejected" "Bulk request rejected":
        "an item of an atomic bulk request failed, so none of its items was done",
        "correct the items that `items` names and send all again, or send them without `atomic`";
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
