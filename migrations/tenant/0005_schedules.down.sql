ALTER TABLE tenant.schedules
    DROP COLUMN time_zone,
    DROP COLUMN last_task_id,
    DROP COLUMN last_error,
    DROP COLUMN version,
    DROP COLUMN created_at,
    DROP COLUMN updated_at;
