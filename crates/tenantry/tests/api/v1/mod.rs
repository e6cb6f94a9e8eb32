mod agents;
mod codes;
mod idempotency;
mod permissions;
mod tasks;
