-- How each task ended is kept with the tenant's metering, and outlives the task: cost per finished task is asked for later.
CREATE TRIGGER tasks_outcome AFTER UPDATE OF status ON tenant.tasks
    FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status AND NEW.status IN ('completed', 'failed', 'cancelled'))
    EXECUTE FUNCTION analytics.note_task_outcome();
