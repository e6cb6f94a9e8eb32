mod agents;
mod codes;
mod keys;
mod me;
mod members;
mod tasks;
