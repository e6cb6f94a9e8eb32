'use strict';

// What the endpoints of agents and tasks share. Every statement has a name, by which `pg` prepares it once on each connection.

const { change } = require('./changes');

const PAGE = 50;

// A page, newest first. A cursor is the id of the last row of the page before.
function lister(table, columns) {
    const select = `SELECT ${columns} FROM ${table} WHERE deleted_at IS NULL`;
    const order = 'ORDER BY created_at DESC, id DESC LIMIT $1';
    const first = { name: `${table}_first`, text: `${select} ${order}` };
    const next = {
        name: `${table}_next`,
        text: `${select} AND (created_at, id) < (SELECT created_at, id FROM ${table} WHERE id = $2) ${order}`,
    };
    return async (req, res) => {
        const limit = Number(req.query.limit ?? PAGE);
        if (!Number.isInteger(limit) || limit < 1 || limit > 200) return res.status(400).json({ error: 'Invalid limit' });
        const { cursor } = req.query;
        const after = cursor && Buffer.from(cursor, 'base64url').toString();
        const query = after ? { ...next, values: [limit + 1, after] } : { ...first, values: [limit + 1] };
        const { rows } = await req.db.query(query);
        const data = rows.slice(0, limit);
        const more = rows.length > limit;
        return res.json({ data, next_cursor: more ? Buffer.from(data.at(-1).id).toString('base64url') : null });
    };
}

function finder(table, columns) {
    const find = { name: `${table}_find`, text: `SELECT ${columns} FROM ${table} WHERE id = $1 AND deleted_at IS NULL` };
    return async (req) => (await req.db.query({ ...find, values: [req.params.id] })).rows[0];
}

function reader(table, columns) {
    const find = finder(table, columns);
    return async (req, res) => {
        const record = await find(req);
        return record ? send(res, 200, record) : res.status(404).json({ error: 'Not found' });
    };
}

// Changes the members that the body names, of the version that it names.
function updater(table, columns, members, json, also = '') {
    const find = finder(table, columns);
    return async (req, res) => {
        const { version } = req.body;
        if (!Number.isInteger(version)) return res.status(428).json({ error: 'Version required' });
        const named = members.filter((member) => member in req.body);
        const sets = named.map((member, n) => `${member} = $${n + 3}, `).join('');
        const { rows } = await change(req, { action: `${table}.update` }, (db) => db.query({
            name: `${table}_update_${named.map((member) => members.indexOf(member)).join('_')}`,
            text: `UPDATE ${table} SET ${sets}version = version + 1${also}
                   WHERE id = $1 AND version = $2 AND deleted_at IS NULL RETURNING ${columns}`,
            values: [req.params.id, version, ...named.map((member) => parameter(req.body[member], json.has(member)))],
        }));
        if (rows.length > 0) return send(res, 200, rows[0]);
        const current = await find(req);
        return current
            ? res.status(409).json({ error: 'Version conflict', current })
            : res.status(404).json({ error: 'Not found' });
    };
}

function parameter(value, json) {
    return json && value !== null ? JSON.stringify(value) : value;
}

function send(res, status, record) {
    return res.status(status).set('ETag', `"${record.version}"`).json(record);
}

module.exports = { lister, reader, updater, send };
