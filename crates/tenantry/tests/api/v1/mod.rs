mod agents;
mod codes;
<<<<<<< HEAD
mod credentials;
mod provider_accounts;
=======
mod idempotency;
mod permissions;
>>>>>>> main
mod tasks;
