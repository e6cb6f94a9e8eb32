DROP TABLE tenant.idempotency_keys;
DROP TABLE tenant.events;
