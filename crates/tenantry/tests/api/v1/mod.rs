mod agents;
mod codes;
mod idempotency;
mod keys;
mod me;
mod members;
mod permissions;
mod tasks;
