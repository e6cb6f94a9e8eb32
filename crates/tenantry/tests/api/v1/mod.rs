mod agents;
mod codes;
mod events;
mod tasks;
