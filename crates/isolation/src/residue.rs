//! What one tenant can leave in a session, and where the next one would see it.

use tokio_postgres::Row;

use crate::{Leak, Scene};

/// What the next tenant must find.
#[derive(Debug, Clone, Copy)]
pub enum Clean {
    /// This text, with the scene's names filled in.
    Value(&'static str),
    /// This SQLSTATE.
    Error(&'static str),
}

/// Something left in a session.
#[derive(Debug, Clone, Copy)]
pub struct Plant {
    /// What it is.
    pub name: &'static str,
    /// How the first tenant leaves it, in one transaction that it commits.
    pub plant: &'static [&'static str],
    /// Where the next tenant looks.
    pub probe: &'static str,
    /// What it finds in a clean session.
    pub clean: Clean,
}

const fn plant(name: &'static str, plant: &'static [&'static str], probe: &'static str, clean: &'static str) -> Plant {
    Plant { name, plant, probe, clean: Clean::Value(clean) }
}

/// One of each kind. Temporary objects and advisory locks are refused as long as their rights are withdrawn.
#[rustfmt::skip]
pub const PLANTS: &[Plant] = &[
    Plant { name: "last value of a sequence",
        plant: &["INSERT INTO audit.events (actor_kind, actor, action, target) VALUES ('system', 'x', 'x', 'x')"],
        probe: "SELECT lastval()::text", clean: Clean::Error("55000") },
    plant("temporary table", &["CREATE TEMP TABLE agents (name text)"],
        "SELECT count(*)::text FROM pg_class WHERE relnamespace = pg_my_temp_schema()", "0"),
    plant("temporary function", &["CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql RETURN 'planted'"],
        "SELECT count(*)::text FROM pg_proc WHERE pronamespace = pg_my_temp_schema()", "0"),
    plant("advisory lock", &["SELECT pg_advisory_lock(4711)"],
        "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "0"),
    plant("setting", &["SET work_mem = '77MB'"], "SELECT (setting = reset_val)::text FROM pg_settings WHERE name = 'work_mem'", "true"),
    plant("setting of one's own", &["SET app.tenant = '{me_id}'"], "SELECT coalesce(current_setting('app.tenant', true), '')", ""),
    plant("search_path", &["SET search_path = {me}, public"], "SELECT current_setting('search_path')", "pg_catalog,pg_temp"),
    plant("row_security", &["SET row_security = off"], "SELECT current_setting('row_security')", "on"),
    plant("statement_timeout", &["SET statement_timeout = 0"], "SELECT current_setting('statement_timeout')", "30s"),
    plant("read only", &["SET default_transaction_read_only = on"], "SELECT current_setting('transaction_read_only')", "off"),
    plant("session characteristics", &["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
        "SELECT current_setting('transaction_isolation')", "read committed"),
    plant("role", &["SET ROLE {me_role}"], "SELECT current_user::text", "{mate_role}"),
    plant("no role", &["SET ROLE NONE"], "SELECT current_user::text", "{mate_role}"),
    plant("hold cursor", &["DECLARE c CURSOR WITH HOLD FOR SELECT name FROM {me}.agents"],
        "SELECT count(*)::text FROM pg_cursors WHERE is_holdable", "0"),
    plant("prepared statement", &["PREPARE p AS SELECT name FROM {me}.agents"],
        "SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql", "0"),
    plant("listening", &["LISTEN tenantry_registry"], "SELECT count(*)::text FROM pg_listening_channels()", "0"),
];

/// What came of a plant.
#[derive(Debug)]
pub struct Found {
    /// Whether the server let it be planted.
    pub planted: bool,
    /// Whether the next tenant had the same backend.
    pub same_backend: bool,
    /// The residue that was seen.
    pub leak: Option<Leak>,
}

/// Plants one as the attacker, in a committed transaction, and looks for it as the mate.
///
/// # Panics
/// When a tenant is not served.
pub async fn pass_on(scene: &Scene, plant: &Plant) -> Found {
    let context = scene.context(&scene.me).await;
    let mut tx = scene.world.db.begin(&context).await.expect("the attacker is served");
    let first = pid(&tx.raw("SELECT pg_backend_pid()", &[]).await.expect("anybody may ask"));
    let mut planted = true;
    for sql in plant.plant {
        planted &= tx.raw(&scene.fill(sql), &[]).await.is_ok();
    }
    if planted {
        tx.commit().await.expect("the plant is committed");
    } else {
        drop(tx);
    }
    look(scene, plant, first, planted).await
}

async fn look(scene: &Scene, plant: &Plant, first: i32, planted: bool) -> Found {
    let context = scene.context(&scene.mate).await;
    let mut tx = scene.world.db.begin(&context).await.expect("the mate is served");
    let second = pid(&tx.raw("SELECT pg_backend_pid()", &[]).await.expect("anybody may ask"));
    // Rights withdrawn from the tenant do not hide residue from the check: the superuser gives a view where it needs one.
    let seen = if plant.probe.contains("pg_locks") {
        let sql = plant.probe.replace("pg_backend_pid()", &second.to_string());
        scene.admin.query(&sql, &[]).await.map(|rows| text(&rows)).map_err(|e| e.code().map(|c| c.code().to_owned()))
    } else {
        tx.raw(&scene.fill(plant.probe), &[]).await.map(|rows| text(&rows)).map_err(|e| e.sqlstate().map(str::to_owned))
    };
    let clean = match (&seen, plant.clean) {
        (Ok(value), Clean::Value(expected)) => *value == scene.fill(expected),
        (Err(state), Clean::Error(expected)) => state.as_deref() == Some(expected),
        _ => false,
    };
    let leak =
        (!clean).then(|| Leak::new("residue", format!("{}: expected {:?}, found {seen:?}", plant.name, plant.clean)));
    Found { planted, same_backend: first == second, leak }
}

/// All of them, one after the other on one connection.
pub async fn residue(scene: &Scene) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for plant in PLANTS {
        leaks.extend(pass_on(scene, plant).await.leak);
    }
    leaks
}

fn pid(rows: &[Row]) -> i32 {
    rows.first().expect("a backend has an id").get(0)
}

fn text(rows: &[Row]) -> String {
    rows.first().and_then(|row| row.get::<_, Option<String>>(0)).unwrap_or_default()
}
