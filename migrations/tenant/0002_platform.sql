-- What the API keeps for its callers: answers given under an idempotency key, and what happened, for streams of events.

-- An answer is kept with the change it tells of, in one transaction. The id is a hash of who asked and the key, so the key
-- itself is nowhere. Rows are of use for a day.
CREATE TABLE tenant.idempotency_keys (
    id          bytea       PRIMARY KEY CHECK (octet_length(id) = 32),
    -- Of method, path and body: the same key with another request is refused.
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    -- NULL only inside the transaction that does the work.
    status      smallint    CHECK (status BETWEEN 200 AND 299),
    etag        text,
    location    text,
    body        bytea       NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_keys_by_age ON tenant.idempotency_keys (created_at);

CREATE TABLE tenant.events (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind ~ '^[a-z_]+(\.[a-z_]+)+$'),
    data        jsonb       NOT NULL CHECK (jsonb_typeof(data) = 'object'),
    created_at  timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant.idempotency_keys, tenant.events TO tenant_role;
