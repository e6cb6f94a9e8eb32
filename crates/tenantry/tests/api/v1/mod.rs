mod agents;
mod codes;
mod credentials;
mod idempotency;
mod permissions;
mod provider_accounts;
mod tasks;
