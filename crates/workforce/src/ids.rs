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
    /// Names one task of one company.
    TaskId,
    "task id"
);
