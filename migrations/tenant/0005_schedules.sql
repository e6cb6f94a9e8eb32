-- Schedules: the zone their times are in, how a run went, and what an update is based on.

ALTER TABLE tenant.schedules
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
    ADD COLUMN last_task_id uuid,
    ADD COLUMN last_error jsonb,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
