mod activity;
mod agents;
mod codes;
mod messages;
mod sessions;
mod tasks;
