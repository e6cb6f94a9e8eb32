-- What provider accounts and credentials need beside their secrets.

ALTER TABLE tenant.provider_accounts
    ADD COLUMN name text NOT NULL DEFAULT '' CHECK (char_length(name) <= 200),
    -- The last characters of a long secret, to recognise it by.
    ADD COLUMN secret_hint text CHECK (char_length(secret_hint) <= 4),
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    -- When the tokens are to be renewed, and until when a server is at it.
    ADD COLUMN refresh_at timestamptz,
    ADD COLUMN refresh_leased_until timestamptz;

ALTER TABLE tenant.credential_proxies
    ADD COLUMN injection jsonb NOT NULL DEFAULT '{"as": "bearer"}' CHECK (jsonb_typeof(injection) = 'object'),
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
