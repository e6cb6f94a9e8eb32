'use strict';

const { Router } = require('express');
const { change } = require('./changes');
const { lister, reader, updater, send } = require('./records');

const COLUMNS =
    'id, name, role, personality_prompt, status, current_task_id, capabilities, tool_permissions, version, created_at, updated_at, deleted_at';
const MEMBERS = ['name', 'role', 'personality_prompt', 'status', 'current_task_id', 'capabilities', 'tool_permissions'];
const JSON_MEMBERS = new Set(['capabilities', 'tool_permissions']);
const INSERT = {
    name: 'agents_insert',
    text: `INSERT INTO agents (name, role, personality_prompt, status, capabilities, tool_permissions)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${COLUMNS}`,
};

const router = Router();
router.get('/', lister('agents', COLUMNS));
router.get('/:id', reader('agents', COLUMNS));
router.patch('/:id', updater('agents', COLUMNS, MEMBERS, JSON_MEMBERS, ', updated_at = now()'));
router.post('/', async (req, res) => {
    const { name, role, personality_prompt = '', status = 'idle', capabilities = [], tool_permissions = {} } = req.body;
    if (!name || !role) return res.status(422).json({ error: 'name and role are required' });
    const values = [name, role, personality_prompt, status, JSON.stringify(capabilities), JSON.stringify(tool_permissions)];
    const { rows } = await change(req, { action: 'agents.create', quota: 'agents' }, (db) => db.query({ ...INSERT, values }));
    return send(res.location(`/v1/agents/${rows[0].id}`), 201, rows[0]);
});

module.exports = router;
