mod agents;
mod codes;
mod schedules;
mod settings;
mod tasks;
