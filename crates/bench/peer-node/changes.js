'use strict';

// How a change is made. Alone, as the design sketched it; or, with PEER_AUDITED=1, in a transaction with what the other side always
// keeps with a change: a counted quota, an audit event that carries on the tenant's chain of hashes, and an event for subscribers.

const AUDITED = process.env.PEER_AUDITED === '1';

const TAKE = {
    name: 'take',
    text: 'UPDATE quota_counters SET used = used + 1 WHERE name = $1 AND used < $2 RETURNING used',
};
const AUDIT = {
    name: 'audit',
    text: `WITH head AS (
               UPDATE audit_head SET hash = sha256(hash || convert_to(concat_ws('|', $1::text, $2::text, $3::text, $4::text), 'UTF8'))
               RETURNING hash)
           INSERT INTO audit_events (actor, client_ip, action, details, hash) SELECT $1, $2, $3, $4::jsonb, hash FROM head`,
};
const PUBLISH = { name: 'publish', text: 'INSERT INTO events (kind, data) VALUES ($1, $2)' };
const LIMIT = 1000000000;

async function change(req, { action, quota }, work) {
    if (!AUDITED) return work(req.db);
    const client = await req.db.connect();
    try {
        await client.query('BEGIN');
        if (quota) {
            const { rows } = await client.query({ ...TAKE, values: [quota, LIMIT] });
            if (rows.length === 0) throw Object.assign(new Error('Quota exceeded'), { status: 402 });
        }
        const result = await work(client);
        const [record] = result.rows;
        if (record) {
            const details = JSON.stringify({ id: record.id, version: record.version });
            await client.query({ ...AUDIT, values: [req.tenant.id, req.ip, action, details] });
            await client.query({ ...PUBLISH, values: [action, JSON.stringify(record)] });
        }
        await client.query('COMMIT');
        return result;
    } catch (error) {
        await client.query('ROLLBACK');
        throw error;
    } finally {
        client.release();
    }
}

module.exports = { change };
