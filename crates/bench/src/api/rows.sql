-- What every tenant of both sides has before the first request. `tenant.` and `{slug}` stand for its schema and name.
INSERT INTO tenant.agents (id, name, role, personality_prompt, capabilities, created_at)
    SELECT ('01920000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '{slug} ' || n, 'analyst',
           'Careful and brief. Asks before anything leaves the house.', '["read", "write", "search"]', now() - n * interval '1 second'
    FROM generate_series(0, 59) AS n
    ON CONFLICT (id) DO UPDATE SET personality_prompt = excluded.personality_prompt, capabilities = excluded.capabilities,
        created_at = excluded.created_at;
INSERT INTO tenant.tasks (id, agent_id, created_by_id, title, description, priority, progress_details, created_at)
    SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, a.id, a.id, 'Reconcile the ledger of week ' || n,
           repeat('Compare each entry with the bank''s, list what differs, and say why. ', 3), 'high', '{"step": 1}',
           now() - n * interval '1 second'
    FROM generate_series(0, 119) AS n
    JOIN tenant.agents a ON a.id = ('01920000-0000-7000-8000-' || lpad(to_hex(n % 60), 12, '0'))::uuid;
