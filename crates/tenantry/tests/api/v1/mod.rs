mod agents;
mod codes;
mod events;
mod idempotency;
mod permissions;
mod tasks;
