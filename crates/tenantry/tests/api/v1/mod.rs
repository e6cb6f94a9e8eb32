mod agents;
mod codes;
mod credentials;
mod provider_accounts;
mod tasks;
