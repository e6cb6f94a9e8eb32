DROP TRIGGER tasks_outcome ON tenant.tasks;
