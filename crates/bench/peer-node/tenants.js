'use strict';

const { createHash, timingSafeEqual } = require('node:crypto');
const { Pool, types } = require('pg');

// `bigint` as a number: versions stay far below 2^53.
types.setTypeParser(types.builtins.INT8, Number);

// Of each tenant in each process. Connections stay open, so that none is made while it is measured.
const POOL = { max: Number(process.env.PEER_POOL_MAX ?? 2), idleTimeoutMillis: 0 };

// 0, as the design has it: the registry is asked for the tenant of each request. More: a tenant is remembered for so long, in which
// a suspended one is still served.
const CACHE_MS = Number(process.env.PEER_TENANT_CACHE_MS ?? 0);

const registry = new Pool({ max: 10, idleTimeoutMillis: 0 });
const pools = new Map();
const remembered = new Map();

const FIND_TENANT = 'SELECT id, slug, schema_name, status, plan_tier, api_key_hash FROM public.tenants WHERE slug = $1';

async function findTenant(slug) {
    const known = remembered.get(slug);
    if (known && known.until > Date.now()) return known.tenant;
    const { rows } = await registry.query({ name: 'find_tenant', text: FIND_TENANT, values: [slug] });
    if (CACHE_MS > 0) remembered.set(slug, { tenant: rows[0], until: Date.now() + CACHE_MS });
    return rows[0];
}

// The tenant's pool, made once; its connections see the tenant's schema.
function poolOf(tenant) {
    let pool = pools.get(tenant.slug);
    if (!pool) {
        pool = new Pool({ ...POOL, options: `-c search_path=${tenant.schema_name}` });
        pool.on('error', (error) => console.error(error));
        pools.set(tenant.slug, pool);
    }
    return pool;
}

function tenantSlug(req) {
    const header = req.get('x-tenant-slug');
    if (header) return header;
    const [subdomain] = req.hostname.split('.');
    return subdomain && subdomain !== 'app' && subdomain !== 'www' ? subdomain : null;
}

function proves(key, hash) {
    const given = createHash('sha256').update(key).digest();
    const wanted = Buffer.from(hash ?? '', 'hex');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
}

// Finds the tenant of a request, checks the key, and attaches tenant and pool.
async function tenantContext(req, res, next) {
    const slug = tenantSlug(req);
    if (!slug) return res.status(400).json({ error: 'Tenant identifier required' });
    const tenant = await findTenant(slug);
    if (!tenant || tenant.status !== 'active') return res.status(403).json({ error: 'Invalid or inactive tenant' });
    const [scheme, key] = (req.get('authorization') ?? '').split(' ');
    if (scheme !== 'Bearer' || !key || !proves(key, tenant.api_key_hash)) {
        return res.status(401).json({ error: 'Invalid API key' });
    }
    req.tenant = tenant;
    req.db = poolOf(tenant);
    return next();
}

module.exports = { tenantContext };
