'use strict';

// What `make bench-api` is compared with: a company's agents and tasks as one would write them in Node, with Express and `pg`, a
// schema per tenant, a pool of connections per tenant and a middleware that finds the tenant of a request.
//
// It does the same reads and writes on the same rows and answers with the same members. It does less than what it is compared
// with, and all of that is to its benefit:
//
// * no audit events, no events for subscribers and no quotas, unless PEER_AUDITED is 1: see changes.js;
// * no idempotency (`Idempotency-Key` is not read) and no rate limits; no permissions behind the key: a key may do everything;
// * no roles and grants in the database: each connection is a superuser's, kept apart by `search_path` alone;
// * no time limits of requests, statements and locks; no bound on connections but each pool's;
// * a status may follow any other, members of a body are hardly checked, lists have no filters;
// * no request id; errors without codes.
//
// PEER_WORKERS: processes that serve, 1 unless given. PEER_TENANT_CACHE_MS: see tenants.js.
// PGHOST and so on: the database.

const cluster = require('node:cluster');

if (process.argv[2] === '--versions') {
    const version = (name) => require(`${name}/package.json`).version;
    console.log(`node ${process.versions.node}, express ${version('express')}, pg ${version('pg')}`);
} else {
    serve(Number(process.env.PEER_WORKERS ?? 1));
}

// Says the port on standard error as soon as all processes serve.
function serve(workers) {
    const say = (port) => process.stderr.write(`listening on ${port}\n`);
    if (workers > 1 && cluster.isPrimary) {
        let listening = 0;
        cluster.on('listening', (_, address) => {
            listening += 1;
            if (listening === workers) say(address.port);
        });
        cluster.on('exit', () => process.exit(1));
        for (let n = 0; n < workers; n += 1) cluster.fork();
        return;
    }
    const server = require('./app').listen(0, '127.0.0.1', (error) => {
        if (error) throw error;
        if (!cluster.isWorker) say(server.address().port);
    });
}
