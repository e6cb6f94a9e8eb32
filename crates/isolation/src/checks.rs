//! One check for each defence. A test asserts that they find nothing; a negative control that they do.

use std::time::Duration;

use tenantry_postgres::{Actor, DbError, TenantTx};
use tokio::time::Instant;

use crate::{Bytes, Leak, Party, Scene, simple};

tenantry_postgres::statements! {
    /// Names of the own agents.
    AGENTS() = "SELECT name FROM tenant.agents ORDER BY name";
    /// Who the session is.
    WHO() = "SELECT current_user::text, pg_backend_pid()";
}

/// Runs unvetted SQL and searches everything that comes back, errors too, for the markers of others.
///
/// # Errors
/// As the server says.
pub async fn foreign_markers(scene: &Scene, tx: &mut TenantTx, sql: &str) -> Result<Vec<String>, DbError> {
    let result = tx.raw(&scene.fill(sql), &[]).await;
    let mut seen = Vec::new();
    match &result {
        Ok(rows) => {
            for row in rows {
                (0..row.len()).for_each(|column| seen.extend(row.get::<_, Bytes>(column).0.into_iter().chain([0])));
            }
        }
        Err(error) => seen.extend(format!("{error:?}").into_bytes()),
    }
    result?;
    let found = scene.others().into_iter().filter(|p| seen.windows(p.marker.len()).any(|w| w == p.marker.as_bytes()));
    Ok(found.map(|p| p.slug.to_owned()).collect())
}

/// Two tenants take turns on one connection: each runs as itself and reads its own rows.
///
/// # Panics
/// When the database is away.
pub async fn scope(scene: &Scene) -> Vec<Leak> {
    const CHECK: &str = "scope";
    let mut leaks = Vec::new();
    for party in [&scene.me, &scene.mate, &scene.me, &scene.lone] {
        let context = scene.context(party).await;
        let mut tx = scene.world.db.begin(&context).await.expect("the tenant is served");
        let who: String = tx.query_one(&WHO, &[]).await.expect("anybody may ask").get(0);
        if who != party.role {
            leaks.push(Leak::new(CHECK, format!("{} runs as the login", party.slug)));
        }
        match tx.query(&AGENTS, &[]).await {
            Ok(rows) => {
                let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                if names != [party.marker.as_str()] {
                    leaks.push(Leak::new(CHECK, format!("{} reads {names:?}", party.slug)));
                }
            }
            Err(error) => leaks.push(Leak::new(CHECK, format!("{} cannot read its own rows: {error}", party.slug))),
        }
    }
    leaks
}

/// Every table of the other tenants, read by its qualified name.
///
/// # Panics
/// When the attacker is not served.
pub async fn foreign_tables(scene: &Scene) -> Vec<Leak> {
    let mut leaks = Vec::new();
    let context = scene.context(&scene.me).await;
    for party in scene.others() {
        for table in workforce::TENANT_TABLES {
            let name = format!("{}.{table}", party.schema);
            let mut tx = scene.world.db.single(&context).await.expect("the attacker is served");
            if tx.raw(&format!("SELECT * FROM {name}"), &[]).await.is_ok() {
                leaks.push(Leak::new("foreign tables", format!("{} may read {name}", scene.me.slug)));
            }
        }
    }
    leaks
}

/// A temporary table of the name of a real one, and a vetted statement after it.
///
/// # Panics
/// When the attacker is not served.
pub async fn shadowing(scene: &Scene) -> Vec<Leak> {
    let context = scene.context(&scene.me).await;
    let mut tx = scene.world.db.begin(&context).await.expect("the attacker is served");
    if tx.raw("CREATE TEMP TABLE agents AS SELECT 'forged'::text AS name", &[]).await.is_err() {
        // Nothing to shadow with.
        return Vec::new();
    }
    match tx.query(&AGENTS, &[]).await {
        Ok(rows) if rows.iter().any(|row| row.get::<_, String>(0) == "forged") => {
            vec![Leak::new("shadowing", "a vetted statement read a temporary table")]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![Leak::new("shadowing", format!("a vetted statement missed its table: {error}"))],
    }
}

/// Temporary objects, as the tenant and as the login.
///
/// # Panics
/// When the attacker is not served.
pub async fn temporary(scene: &Scene) -> Vec<Leak> {
    const CHECK: &str = "temporary";
    let mut leaks = Vec::new();
    let context = scene.context(&scene.me).await;
    let mut tx = scene.world.db.single(&context).await.expect("the attacker is served");
    if tx.raw("CREATE TEMP TABLE planted (a int)", &[]).await.is_ok() {
        leaks.push(Leak::new(CHECK, "a tenant's role may make temporary tables"));
    }
    let (client, _) = scene.login(&scene.me.login).await;
    if simple(&client, "CREATE TEMP TABLE planted (a int)").await.is_ok() {
        leaks.push(Leak::new(CHECK, "a login may make temporary tables"));
    }
    leaks
}

/// Queries of the shared tables that forget the tenant, in many shapes. The own 20 calls have latencies 1 to 20.
pub const ANALYTICS: &[(&str, &str)] = &[
    ("plain", "SELECT * FROM analytics.provider_api_calls"),
    (
        "count",
        "SELECT CASE WHEN count(*) = 20 THEN '' ELSE 'foreign rows counted' END FROM analytics.provider_api_calls",
    ),
    (
        "sum",
        "SELECT CASE WHEN sum(latency_ms) = 210 THEN '' ELSE 'foreign rows summed' END FROM analytics.provider_api_calls",
    ),
    ("distinct", "SELECT DISTINCT tenant_id::text, provider FROM analytics.daily_metrics"),
    (
        "grouping",
        "SELECT provider, count(*) FROM analytics.provider_api_calls GROUP BY ROLLUP (provider) HAVING count(*) > 0",
    ),
    ("string_agg", "SELECT string_agg(error_message, ',') FROM analytics.provider_api_calls"),
    ("json_agg", "SELECT json_agg(c) FROM analytics.provider_api_calls c"),
    (
        "window",
        "SELECT first_value(provider) OVER (ORDER BY tenant_id), lag(provider) OVER (ORDER BY tenant_id DESC) FROM analytics.provider_api_calls",
    ),
    (
        "join",
        "SELECT a.provider, b.provider FROM analytics.provider_api_calls a JOIN analytics.daily_metrics b ON a.tenant_id <> b.tenant_id",
    ),
    ("outer join", "SELECT m.* FROM {me}.agents a FULL JOIN analytics.daily_metrics m ON false"),
    ("cross join", "SELECT b.* FROM {me}.agents a CROSS JOIN analytics.roi_calculations b"),
    (
        "lateral",
        "SELECT l.* FROM {me}.agents a, LATERAL (SELECT provider FROM analytics.provider_api_calls ORDER BY tenant_id DESC) l",
    ),
    (
        "subquery",
        "SELECT (SELECT max(provider) FROM analytics.provider_api_calls), (SELECT min(provider) FROM analytics.provider_api_calls)",
    ),
    ("in", "SELECT name FROM {me}.agents WHERE '{mate_id}' IN (SELECT tenant_id FROM analytics.roi_calculations)"),
    (
        "exists",
        "SELECT 'a foreign row exists' WHERE EXISTS (SELECT 1 FROM analytics.provider_api_calls WHERE tenant_id <> '{me_id}')",
    ),
    ("union", "SELECT name FROM {me}.agents UNION ALL SELECT provider FROM analytics.provider_api_calls"),
    ("except", "SELECT provider FROM analytics.provider_api_calls EXCEPT SELECT name FROM {me}.agents"),
    (
        "recursive",
        "WITH RECURSIVE r AS (SELECT provider, 1 AS n FROM analytics.daily_metrics UNION ALL SELECT m.provider, n + 1 FROM r, analytics.daily_metrics m WHERE n < 3) SELECT * FROM r",
    ),
    ("materialized", "WITH x AS MATERIALIZED (SELECT * FROM analytics.provider_api_calls) SELECT * FROM x"),
    ("by id", "SELECT * FROM analytics.provider_api_calls WHERE tenant_id = '{mate_id}'"),
    ("or", "SELECT * FROM analytics.provider_api_calls WHERE tenant_id = '{me_id}' OR true"),
    ("order by", "SELECT provider FROM analytics.provider_api_calls ORDER BY tenant_id = '{me_id}' LIMIT 1"),
    ("sample", "SELECT * FROM analytics.provider_api_calls TABLESAMPLE BERNOULLI (100)"),
    (
        "explain analyze",
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM analytics.roi_calculations WHERE error_free(savings_usd)",
    ),
    ("cast error", "SELECT provider::int FROM analytics.provider_api_calls WHERE tenant_id <> '{me_id}'"),
    (
        "leaky operator",
        "SELECT * FROM analytics.provider_api_calls WHERE tenant_id = '{mate_id}' AND provider::int = 1",
    ),
    (
        "division",
        "SELECT * FROM analytics.provider_api_calls WHERE tenant_id = '{mate_id}' AND 1 / (latency_ms - latency_ms) = 1",
    ),
    ("regexp", "SELECT regexp_replace(error_message, '.*', '\\\\&') FROM analytics.provider_api_calls"),
    ("copy", "COPY analytics.provider_api_calls TO STDOUT"),
    ("partition", "SELECT * FROM analytics.provider_api_calls_{month}"),
    ("partition by tableoid", "SELECT tableoid::regclass::text, provider FROM analytics.provider_api_calls"),
    ("row security off", "SELECT set_config('row_security', 'off', false), * FROM analytics.provider_api_calls"),
];

/// Runs [`ANALYTICS`] as the tenant.
///
/// # Panics
/// When the attacker is not served.
pub async fn analytics(scene: &Scene) -> Vec<Leak> {
    const CHECK: &str = "analytics";
    let mut leaks = Vec::new();
    let context = scene.context(&scene.me).await;
    let month: String = scene
        .admin
        .query_one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')", &[])
        .await
        .expect("a month")
        .get(0);
    for (shape, sql) in ANALYTICS {
        let sql = scene.fill(&sql.replace("{month}", &month).replace("error_free(savings_usd)", "savings_usd > 0"));
        let mut tx = scene.world.db.begin(&context).await.expect("the attacker is served");
        let (text, failed) = match tx.raw(&sql, &[]).await {
            Ok(rows) => {
                let mut seen = Vec::new();
                for row in &rows {
                    (0..row.len()).for_each(|column| seen.extend(row.get::<_, Bytes>(column).0.into_iter().chain([0])));
                }
                (String::from_utf8_lossy(&seen).into_owned(), None)
            }
            Err(error) => (format!("{error:?}"), error.sqlstate().map(str::to_owned)),
        };
        for party in scene.others() {
            if text.contains(&party.marker) {
                leaks.push(Leak::new(CHECK, format!("`{shape}` shows a row of {}", party.slug)));
            }
        }
        // A value of a foreign row reached an expression that fails on it: an oracle even when the text is not shown.
        if matches!(failed.as_deref(), Some("22P02" | "22012")) {
            leaks.push(Leak::new(CHECK, format!("`{shape}` evaluated a foreign row")));
        }
        if text.contains("foreign row") || text.contains("rows=3 ") {
            leaks.push(Leak::new(CHECK, format!("`{shape}` counts foreign rows")));
        }
        if *shape == "plain" && !text.contains(&scene.me.marker) {
            leaks.push(Leak::new(CHECK, format!("the tenant does not see its own rows: {text}")));
        }
    }
    leaks
}

/// The owner of the shared tables is not above their row level security.
///
/// # Panics
/// When the superuser cannot become the owner.
pub async fn owner_reads(scene: &Scene) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for table in [
        "analytics.provider_api_calls",
        "analytics.daily_metrics",
        "{me}.provider_accounts",
        "{mate}.credential_proxies",
    ] {
        let name = scene.fill(table);
        scene.as_admin("SET ROLE tenantry_owner").await;
        let rows = scene.admin.query(&format!("SELECT 1 FROM {name}"), &[]).await.expect("the owner may ask");
        scene.as_admin("RESET ROLE").await;
        if !rows.is_empty() {
            leaks.push(Leak::new("owner", format!("the owner reads rows of {table}")));
        }
    }
    leaks
}

/// One statement that changes its role and reads on.
///
/// # Panics
/// When the attacker is not served.
pub async fn escape(scene: &Scene) -> Vec<Leak> {
    const CHECK: &str = "escape";
    let mut leaks = Vec::new();
    let context = scene.context(&scene.me).await;
    for (what, sql) in [
        ("set_config", "SELECT set_config('role', '{mate_role}', false)"),
        ("ts_stat", "SELECT word FROM ts_stat('SELECT name::tsvector FROM {me}.agents')"),
        (
            "both",
            "SELECT set_config('role', '{mate_role}', false), (SELECT string_agg(word, ',') FROM ts_stat('SELECT name::tsvector FROM {mate}.agents'))",
        ),
    ] {
        let mut tx = scene.world.db.single(&context).await.expect("the attacker is served");
        if let Ok(found) = foreign_markers(scene, &mut tx, sql).await {
            leaks.push(Leak::new(CHECK, format!("{what} may be called")));
            leaks.extend(found.iter().map(|slug| Leak::new(CHECK, format!("one statement read a row of {slug}"))));
        }
    }
    leaks
}

/// A bare login sees nothing at all.
///
/// # Panics
/// When the login is refused.
pub async fn bare_login(scene: &Scene) -> Vec<Leak> {
    let mut leaks = Vec::new();
    let (client, _) = scene.login(&scene.me.login).await;
    let mut tables: Vec<String> = Vec::new();
    for party in scene.parties() {
        tables.extend(workforce::TENANT_TABLES.iter().map(|table| format!("{}.{table}", party.schema)));
    }
    let shared = scene
        .admin
        .query("SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'p', 'v') AND relnamespace IN ('public'::regnamespace, 'audit'::regnamespace, 'analytics'::regnamespace)", &[])
        .await
        .expect("the superuser reads the catalog");
    tables.extend(
        shared
            .iter()
            .map(|row| row.get::<_, String>(0))
            .map(|name| if name.contains('.') { name } else { format!("public.{name}") }),
    );
    for table in tables {
        if simple(&client, &format!("SELECT 1 FROM {table}")).await.is_ok() {
            leaks.push(Leak::new("bare login", format!("it may read {table}")));
        }
    }
    leaks
}

/// A context from before a suspension opens nothing after it; and none is given any more.
/// `patience` bounds the wait for the change to be heard.
///
/// # Panics
/// When the tenant cannot be suspended.
pub async fn suspension(scene: &Scene, patience: Duration) -> Vec<Leak> {
    const CHECK: &str = "suspension";
    let mate: &Party = &scene.mate;
    let before = scene.context(mate).await;
    let slug = mate.slug.parse().expect("a slug");
    let actor = Actor::system("test");
    scene.world.provisioner.suspend(mate.slug, &actor).await.expect("it is suspended");
    let mut leaks = Vec::new();
    let deadline = Instant::now() + patience;
    while scene.world.registry.system_context(&slug, "test").await.is_ok() {
        if Instant::now() > deadline {
            leaks.push(Leak::new(CHECK, "the cache still serves a suspended tenant"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if let Ok(mut tx) = scene.world.db.single(&before).await
        && tx.query(&AGENTS, &[]).await.is_ok()
    {
        leaks.push(Leak::new(CHECK, "a context from before still opens transactions"));
    }
    scene.world.provisioner.resume(mate.slug, &actor).await.expect("it is resumed");
    leaks
}
