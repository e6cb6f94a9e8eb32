mod activity;
mod agents;
mod codes;
mod idempotency;
mod messages;
mod permissions;
mod sessions;
mod tasks;
