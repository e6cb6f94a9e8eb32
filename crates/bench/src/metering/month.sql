-- Calls of the last whole month: `{from}` to `{to}` of them, of 20 tenants, of whom the n-th gets less the higher n is, the first a fifth or so.
INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, model, agent_id, api_key_id, task_type, tokens_input,
    tokens_output, tokens_cache_read, usage, cost_usd, cost_source, price_version, list_baseline_usd, like_baseline_usd, optimal, latency_ms,
    success, status_code, source, "timestamp", hour, day)
SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, t.ids[1 + least(19, floor(20 * r * r))::int],
    (ARRAY['openai', 'openai', 'anthropic'])[1 + n % 3], 'chat', (ARRAY['gpt-4o-mini', 'gpt-5', 'claude-sonnet-4-5'])[1 + n % 3],
    ('00000000-0000-4000-8000-' || lpad((n % 10)::text, 12, '0'))::uuid, ('00000000-0000-4000-9000-' || lpad((n % 3)::text, 12, '0'))::uuid,
    (ARRAY['support', 'research'])[1 + n % 2], 900, 120, 300, '{}', 0.0002295 + 0.000000000001 * (n % 1000), 'catalogue', 'bench', 0.021, 0.003,
    n % 4 > 0, 200 + n % 3000, n % 50 > 0, CASE WHEN n % 50 > 0 THEN 200 ELSE 500 END, 'gateway', at, date_trunc('hour', at, 'UTC'),
    (at AT TIME ZONE 'UTC')::date
FROM (SELECT array_agg(id ORDER BY slug) AS ids FROM public.tenants) t,
    LATERAL (SELECT n, random() AS r, '{month}-01 00:00Z'::timestamptz + random() * interval '{days} days' AS at FROM generate_series({from}, {to}) n) c;
