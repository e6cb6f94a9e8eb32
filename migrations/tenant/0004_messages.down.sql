DROP INDEX tenant.agent_sessions_by_age;
DROP INDEX tenant.activity_logs_by_task;
DROP INDEX tenant.activity_logs_by_age;
DROP INDEX tenant.messages_by_pair;
DROP INDEX tenant.messages_by_age;
ALTER TABLE tenant.messages DROP COLUMN broadcast_id;
ALTER TABLE tenant.messages DROP COLUMN version;
