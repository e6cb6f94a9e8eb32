mod agents;
mod bulk;
mod codes;
mod dependencies;
mod idempotency;
mod lists;
mod permissions;
mod tasks;
