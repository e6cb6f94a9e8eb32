use tenantry_core::typed_id;

typed_id!(
    /// Names one agent of one company.
    AgentId,
    "agent id"
);
typed_id!(
    /// Names one account of a company at a provider.
    ProviderAccountId,
    "provider account id"
);
typed_id!(
    /// Names one credential of one company.
    CredentialId,
    "credential id"
);
typed_id!(
    /// Names one schedule of one company.
    ScheduleId,
    "schedule id"
);
typed_id!(
    /// Names one task of one company.
    TaskId,
    "task id"
);
typed_id!(
    /// Names one dependency of one task on another.
    DependencyId,
    "dependency id"
);
typed_id!(
    /// Names one message of one company.
    MessageId,
    "message id"
);
typed_id!(
    /// Names one entry of one company's activity log.
    ActivityId,
    "activity id"
);
typed_id!(
    /// Names one session of one company.
    SessionId,
    "session id"
);
