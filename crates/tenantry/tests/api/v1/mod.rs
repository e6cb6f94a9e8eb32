mod agents;
mod codes;
mod quotas;
mod storage;
mod tasks;
