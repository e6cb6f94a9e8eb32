-- Prices that operators load and tenants agree with their providers. Run as role tenantry_owner.
--
-- Rows are never changed: a call's price is found by its time among rows that are made and, at most, removed. So a server sees that something
-- has changed by the last catalogue and by the set of the overrides' ids.

-- Catalogues that operators have loaded, as they wrote them. The last one counts, over the one in the program.
CREATE TABLE analytics.price_catalogues (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 of the text, in hexadecimal digits.
    digest text NOT NULL,
    catalogue text NOT NULL CHECK (octet_length(catalogue) <= 4194304),
    note text NOT NULL DEFAULT '',
    loaded_by text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now()
);

-- What a tenant pays instead of the catalogue's price: with any account, or with one.
CREATE TABLE analytics.price_overrides (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL DEFAULT tenantry.current_tenant(),
    provider text NOT NULL,
    -- A model's name, or how names begin and `*`.
    model text NOT NULL,
    -- It may outlive the account.
    provider_account_id uuid,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz CHECK (valid_to > valid_from),
    price jsonb NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX price_overrides_age ON analytics.price_overrides (tenant_id, created_at, id);

ALTER TABLE analytics.price_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.price_overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON analytics.price_overrides
    USING (tenant_id = (SELECT tenantry.current_tenant())) WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY purge_sees ON analytics.price_overrides FOR SELECT TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge ON analytics.price_overrides FOR DELETE TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY metering ON analytics.price_overrides FOR SELECT TO tenantry_meter USING (true);
CREATE POLICY audited_read ON analytics.price_overrides FOR SELECT TO tenantry_auditor USING (true);

-- Whoever prices calls anew, or loads a catalogue, holds this row: one at a time.
CREATE TABLE analytics.price_work (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton)
);
INSERT INTO analytics.price_work DEFAULT VALUES;

-- Whether the month of a day is closed to changes: what comes to it later is booked at its own time. Closing months is the statements' affair.
CREATE FUNCTION analytics.month_is_closed(tenant uuid, of_day date) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS 'SELECT false';
REVOKE EXECUTE ON FUNCTION analytics.month_is_closed(uuid, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics.month_is_closed(uuid, date) TO tenantry_meter;

-- The calls without a cost, and the adjustments of a call.
CREATE INDEX provider_api_calls_unpriced ON analytics.provider_api_calls (tenant_id, "timestamp", id)
    WHERE cost_usd IS NULL AND kind = 'call';
CREATE INDEX provider_api_calls_adjusts ON analytics.provider_api_calls (tenant_id, adjusts) WHERE adjusts IS NOT NULL;

GRANT SELECT, INSERT ON analytics.price_catalogues TO tenantry_meter;
GRANT SELECT ON analytics.price_overrides TO tenantry_meter;
GRANT SELECT, UPDATE ON analytics.price_work TO tenantry_meter;
GRANT SELECT ON analytics.price_catalogues, analytics.price_overrides, analytics.price_work TO tenantry_auditor;
GRANT SELECT, INSERT, DELETE ON analytics.price_overrides TO tenantry_tenant;

-- Changes of prices are written with their audit events.
GRANT USAGE ON SCHEMA audit TO tenantry_meter;
GRANT INSERT (tenant_id, actor_kind, actor, action, target, request_id, client_ip, details) ON audit.events TO tenantry_meter;
CREATE POLICY prices ON audit.events FOR INSERT TO tenantry_meter WITH CHECK (action LIKE 'prices.%');
