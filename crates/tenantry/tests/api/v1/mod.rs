mod agents;
mod codes;
mod tasks;
