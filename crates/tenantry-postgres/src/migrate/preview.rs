//! What a run would do, and a try of it on one tenant that leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::error::MigrateError;
use super::fleet::Fleet;
use super::options::Options;
use super::plan::{self, Pending};
use super::shared;
use super::source::{Migration, Scope};
use super::step::Limits;
use crate::clients::typed;
use crate::connect::{Logins, connect};
use crate::error::DbError;
use crate::statement::{render, without_word};

/// What `up` would do now.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// The version that tenants are brought to.
    pub target: i32,
    /// Steps of registry and analytics, which come first.
    pub shared: Vec<String>,
    /// The tenants' steps, and how many tenants each would be run on.
    pub steps: Vec<PreviewStep>,
    /// Who would be migrated when.
    pub waves: Vec<PreviewWave>,
    /// What was seen on one tenant.
    pub dry_run: Option<DryRun>,
    /// Why something was not looked at.
    pub notes: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewStep {
    /// Its number and name.
    pub migration: String,
    /// Whether it runs in a transaction.
    pub transactional: bool,
    /// Whether it can be undone.
    pub reversible: bool,
    /// On how many tenants.
    pub tenants: usize,
}

/// One wave.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewWave {
    /// Its name.
    pub wave: String,
    /// How many tenants are in it.
    pub tenants: usize,
    /// Their slugs, where they are canaries.
    pub canaries: Vec<String>,
}

/// The steps of one tenant, run in a transaction that was rolled back.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    /// The tenant.
    pub slug: String,
    /// Each step until the first that failed.
    pub steps: Vec<DryStep>,
}

/// What one step did.
#[derive(Debug, Clone, Serialize)]
pub struct DryStep {
    /// Its number and name.
    pub migration: String,
    /// How long it took, waiting for locks included.
    pub duration_ms: f64,
    /// Locks on tables and indexes that were there before, beyond reading them; others wait that want to do what they forbid.
    pub locks: Vec<Lock>,
    /// Tables and indexes that were written anew.
    pub rewritten: Vec<Rewrite>,
    /// Tables, indexes and sequences that are new.
    pub created: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What was otherwise than it will be.
    pub note: Option<&'static str>,
}

/// A lock held until the end of the step's transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lock {
    /// On what.
    pub relation: String,
    /// Its mode, as PostgreSQL calls it.
    pub mode: String,
    /// What it keeps others from.
    pub blocks: &'static str,
}

/// A table or index written anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rewrite {
    /// Which.
    pub relation: String,
    /// How large it is in this tenant, as the last ANALYZE knows it; -1 is unknown.
    pub rows: i64,
}

impl Fleet {
    /// Says what [`up`](Self::up) would do.
    ///
    /// # Errors
    /// [`MigrateError::UnknownTenant`], [`MigrateError::NoVersion`], [`MigrateError::Database`].
    pub async fn outlook(&self, options: &Options) -> Result<Preview, MigrateError> {
        let client = connect(&self.database, Logins::MIGRATOR).await?;
        let (preview, _) = self.look(&client, options).await?;
        Ok(preview)
    }

    /// Says what [`up`](Self::up) would do, and tries it on the tenant `on` (or else the first canary) in a transaction that is
    /// rolled back. The try holds the steps' locks for as long as it takes, and waits for a lock no longer than a step does.
    ///
    /// # Errors
    /// As [`outlook`](Self::outlook).
    pub async fn preview(&self, options: &Options, on: Option<&str>) -> Result<Preview, MigrateError> {
        let client = connect(&self.database, Logins::MIGRATOR).await?;
        let (mut preview, pending) = self.look(&client, options).await?;
        if let Some(slug) = on {
            let named = Options { tenants: vec![slug.to_owned()], ..options.clone() };
            plan::check_slugs(&client, &named).await?;
        }
        let tenant = match on {
            Some(slug) => pending.iter().find(|tenant| tenant.slug == slug).cloned(),
            None => plan::first_canary(&pending),
        };
        let Some(tenant) = tenant else {
            if !preview.steps.is_empty() {
                let who = on.map_or_else(|| "no canary is behind".to_owned(), |slug| format!("`{slug}` is not behind"));
                preview.notes.push(format!("nothing was tried: {who}; name a tenant to try it on"));
            }
            return Ok(preview);
        };
        let after = self.set().after(tenant.version).iter();
        let steps: Vec<&Migration> = after.filter(|step| step.version <= preview.target).collect();
        let limits = Limits { lock: options.lock_timeout, statement: options.statement_timeout };
        preview.dry_run = Some(dry_run(client, &tenant, &steps, limits).await?);
        Ok(preview)
    }

    async fn look(&self, client: &Client, options: &Options) -> Result<(Preview, Vec<Pending>), MigrateError> {
        let latest = self.set().latest();
        let target = options.to.unwrap_or(latest);
        if !(0..=latest).contains(&target) {
            return Err(MigrateError::NoVersion { asked: target, latest });
        }
        let shared = missing(client).await?;
        let mut preview = Preview { target, shared, steps: vec![], waves: vec![], dry_run: None, notes: vec![] };
        if preview.shared.iter().any(|step| step == "registry 0002_fleet") {
            preview
                .notes
                .push("who would be migrated is known when the registry is: `tenantry init` brings it on".into());
            return Ok((preview, Vec::new()));
        }
        plan::check_slugs(client, options).await?;
        let pending = plan::pending(client, false, target, options).await?;
        for step in self.set().all().iter().filter(|step| step.version <= target) {
            let tenants = pending.iter().filter(|tenant| tenant.version < step.version).count();
            if tenants > 0 {
                preview.steps.push(told(step, tenants));
            }
        }
        for wave in plan::waves(pending.clone(), options) {
            let canaries = wave.tenants.iter().filter(|_| wave.canary).map(|tenant| tenant.slug.clone());
            preview.waves.push(PreviewWave {
                canaries: canaries.collect(),
                tenants: wave.tenants.len(),
                wave: wave.name,
            });
        }
        Ok((preview, pending))
    }
}

fn told(step: &Migration, tenants: usize) -> PreviewStep {
    PreviewStep { migration: step.label(), transactional: step.transactional, reversible: step.down.is_some(), tenants }
}

async fn missing(client: &Client) -> Result<Vec<String>, DbError> {
    let mut versions = BTreeMap::new();
    for scope in [Scope::Registry, Scope::Analytics] {
        let applied = shared::applied(client, scope).await?;
        versions.insert(scope.as_str().to_owned(), applied.keys().next_back().copied().unwrap_or(0));
    }
    Ok(shared::missing(&versions).collect())
}

async fn dry_run(
    client: Client,
    tenant: &Pending,
    steps: &[&Migration],
    limits: Limits,
) -> Result<DryRun, MigrateError> {
    client.batch_execute(&format!("{}; BEGIN", limits.session())).await?;
    let mut run = DryRun { slug: tenant.slug.clone(), steps: Vec::new() };
    let begin = seen(&client, tenant).await?;
    let mut before = begin.clone();
    for step in steps {
        let done = try_step(&client, tenant, step, &begin, &mut before).await?;
        let failed = done.error.is_some();
        run.steps.push(done);
        if failed {
            break;
        }
    }
    client.batch_execute("ROLLBACK").await?;
    Ok(run)
}

/// What is seen of a tenant at a moment.
#[derive(Clone, Default)]
struct Seen {
    /// Each relation's file and rows, by its name.
    files: BTreeMap<String, (u32, i64)>,
    locks: BTreeSet<(String, String)>,
}

async fn try_step(
    client: &Client,
    tenant: &Pending,
    step: &Migration,
    begin: &Seen,
    before: &mut Seen,
) -> Result<DryStep, MigrateError> {
    let text = if step.transactional { step.up.clone() } else { without_word(&step.up, "CONCURRENTLY") };
    let started = Instant::now();
    let done = client.batch_execute(&render(&text, &tenant.schema, &tenant.role())).await.map_err(DbError::from);
    let mut told = DryStep {
        migration: step.label(),
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        locks: Vec::new(),
        rewritten: Vec::new(),
        created: Vec::new(),
        error: None,
        note: (!step.transactional)
            .then_some("tried in a transaction and without CONCURRENTLY: it will take weaker locks and more time"),
    };
    if let Err(error) = done {
        told.error = Some(error.to_string());
        return Ok(told);
    }
    let after = seen(client, tenant).await?;
    for (relation, (file, _)) in &after.files {
        match before.files.get(relation) {
            None => told.created.push(relation.clone()),
            Some((old, rows)) if old != file => {
                told.rewritten.push(Rewrite { relation: relation.clone(), rows: *rows })
            }
            Some(_) => {}
        }
    }
    told.locks = after
        .locks
        .iter()
        .filter(|lock| !before.locks.contains(*lock) && begin.files.contains_key(&lock.0))
        .filter_map(|(relation, mode)| {
            Some(Lock { relation: relation.clone(), mode: mode.clone(), blocks: blocks(mode)? })
        })
        .collect();
    *before = after;
    Ok(told)
}

async fn seen(client: &Client, tenant: &Pending) -> Result<Seen, DbError> {
    let schema = tenant.schema.as_str();
    // By way of pg_depend: pg_class has no index by schema.
    let relations = "WITH own AS (SELECT d.objid FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass \
           AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND d.classid = 'pg_class'::regclass), \
         all_of AS (SELECT objid FROM own UNION SELECT i.indexrelid FROM own JOIN pg_index i ON i.indrelid = own.objid) \
         SELECT c.oid, c.relname::text, c.relfilenode, c.reltuples::bigint FROM all_of JOIN pg_class c ON c.oid = all_of.objid \
         WHERE c.relkind IN ('r', 'i', 'S', 'm')";
    let rows = client.query_typed(relations, &[typed(&schema, Type::TEXT)]).await?;
    let mut seen = Seen::default();
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    for row in rows {
        let name: String = row.get(1);
        seen.files.insert(name.clone(), (row.get(2), row.get(3)));
        names.insert(row.get(0), name);
    }
    let held = "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted";
    for row in client.query_typed(held, &[]).await? {
        if let Some(name) = names.get(&row.get::<_, u32>(0)) {
            seen.locks.insert((name.clone(), row.get(1)));
        }
    }
    Ok(seen)
}

/// What a lock keeps others from; nothing is said of the weak ones that every reader and writer takes.
fn blocks(mode: &str) -> Option<&'static str> {
    Some(match mode {
        "ShareUpdateExclusiveLock" => "other changes of the table, and vacuum",
        "ShareLock" | "ShareRowExclusiveLock" => "writers",
        "ExclusiveLock" => "writers, and readers that lock rows",
        "AccessExclusiveLock" => "readers and writers",
        _ => return None,
    })
}
