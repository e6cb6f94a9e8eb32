mod agents;
mod codes;
<<<<<<< HEAD
mod quotas;
mod storage;
=======
mod idempotency;
mod permissions;
>>>>>>> main
mod tasks;
