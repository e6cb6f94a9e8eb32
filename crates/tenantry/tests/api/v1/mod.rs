mod agents;
mod bulk;
mod codes;
mod dependencies;
mod lists;
mod idempotency;
mod permissions;
mod tasks;
