mod agents;
mod codes;
mod idempotency;
mod permissions;
mod quotas;
mod storage;
mod tasks;
