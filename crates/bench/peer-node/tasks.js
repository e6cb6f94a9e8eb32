'use strict';

const { Router } = require('express');
const { change } = require('./changes');
const { lister, reader, updater, send } = require('./records');

const COLUMNS = `id, agent_id, created_by_id, title, description, status, previous_status, priority, progress_percent,
    progress_details, result, deadline, started_at, completed_at, error_details, version, retry_count, max_retries, created_at,
    deleted_at, provider, provider_account_id`;
const MEMBERS = [
    'agent_id',
    'title',
    'description',
    'status',
    'priority',
    'progress_percent',
    'progress_details',
    'result',
    'error_details',
    'deadline',
    'max_retries',
    'provider',
];
const JSON_MEMBERS = new Set(['progress_details', 'result', 'error_details']);
const INSERT = {
    name: 'tasks_insert',
    text: `INSERT INTO tasks (agent_id, created_by_id, title, description, priority, deadline, max_retries, provider)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ${COLUMNS}`,
};

const router = Router();
router.get('/', lister('tasks', COLUMNS));
router.get('/:id', reader('tasks', COLUMNS));
router.patch('/:id', updater('tasks', COLUMNS, MEMBERS, JSON_MEMBERS));
// That the agent exists is the foreign key's to say.
router.post('/', async (req, res) => {
    const { agent_id, created_by_id = agent_id, title, description = '', priority = 'normal' } = req.body;
    const { deadline = null, max_retries = 3, provider = null } = req.body;
    if (!agent_id || !title) return res.status(422).json({ error: 'agent_id and title are required' });
    const values = [agent_id, created_by_id, title, description, priority, deadline, max_retries, provider];
    const { rows } = await change(req, { action: 'tasks.create', quota: 'tasks' }, (db) => db.query({ ...INSERT, values }));
    return send(res.location(`/v1/tasks/${rows[0].id}`), 201, rows[0]);
});

module.exports = router;
