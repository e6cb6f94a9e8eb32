'use strict';

const express = require('express');
const { tenantContext } = require('./tenants');

const app = express();
// A hash over every answer would be for nothing: the records have versions, which are their ETags.
app.disable('etag');
app.disable('x-powered-by');

app.use(tenantContext);
// One line for each request, with the tenant that it is for.
app.use((req, res, next) => {
    const { tenant } = req;
    console.log(
        JSON.stringify({
            timestamp: new Date().toISOString(),
            tenantId: tenant.id,
            tenantSlug: tenant.slug,
            endpoint: req.path,
            method: req.method,
            ip: req.ip,
        }),
    );
    next();
});
app.use(express.json());
app.use('/v1/agents', require('./agents'));
app.use('/v1/tasks', require('./tasks'));

app.use((req, res) => res.status(404).json({ error: 'Not found' }));
app.use((error, req, res, next) => {
    if (res.headersSent) return next(error);
    const constraint = { 23505: 409, 23503: 422, '22P02': 422 }[error.code];
    const status = constraint ?? error.status ?? 500;
    if (status === 500) console.error(error);
    return res.status(status).json({ error: status === 500 ? 'Internal error' : error.message });
});

module.exports = app;
