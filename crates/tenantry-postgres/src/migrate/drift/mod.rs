//! Drift: whether every tenant's schema, role and privileges are what baseline and migrations make of them.
//!
//! The server makes a hash of each schema's catalog, hundreds of schemas at a time, and only of tenants that differ from
//! the reference the catalog itself is read. The reference is a tenant made in a transaction that is rolled back, by the same
//! code that makes tenants, or by running the migrations one after the other for a version that is not the latest.

mod catalog;
mod compare;
mod installation;
mod reference;
mod repair;
mod script;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tenantry_core::RoleName;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use compare::{Change, Difference, Repair};
pub use script::repair_script;

use catalog::{Lines, Place};
use reference::From;

use crate::clients::typed;
use crate::config::DatabaseConfig;
use crate::connect::{Logins, connect};
use crate::error::{DbError, ProvisionError};
use crate::provision::{Provisioner, TenantSchema};

/// How many schemas one query reads. A connection is closed after it: a backend keeps in memory what it has read of a
/// table's catalog.
const BATCH: usize = 200;
/// How often a tenant is looked at again when it was migrated meanwhile.
const AGAIN: usize = 3;

/// Looks for drift.
#[derive(Debug, Clone)]
pub struct Drift {
    database: DatabaseConfig,
    provisioner: Provisioner,
    references: Arc<tokio::sync::Mutex<References>>,
    replays: bool,
}

/// One tenant's differences.
#[derive(Debug, Clone, Serialize)]
pub struct TenantDrift {
    /// The tenant.
    pub slug: String,
    /// Its schema.
    pub schema_name: String,
    /// The version it is at, and was compared with.
    pub version: i32,
    /// What is wrong.
    pub differences: Vec<Difference>,
}

/// A tenant at another version than the latest.
#[derive(Debug, Clone, Serialize)]
pub struct OtherVersion {
    /// The tenant.
    pub slug: String,
    /// The version it is at.
    pub version: i32,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DriftReport {
    /// How many tenants were compared.
    pub checked: usize,
    /// The latest version.
    pub latest: i32,
    /// The tenants that differ.
    pub tenants: Vec<TenantDrift>,
    /// Tenants that have migrations before them; they were compared with their own version.
    pub behind: Vec<OtherVersion>,
    /// Tenants at a version that this program does not know; they were not compared.
    pub unknown: Vec<OtherVersion>,
    /// What is wrong outside the tenants' schemas.
    pub installation: Vec<Difference>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

impl DriftReport {
    /// Whether anything differs.
    #[must_use]
    pub fn found(&self) -> bool {
        !(self.tenants.is_empty() && self.installation.is_empty() && self.unknown.is_empty())
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct DriftProgress {
    /// Tenants compared.
    pub done: usize,
    /// Tenants in all.
    pub total: usize,
    /// Tenants that differ.
    pub drifted: usize,
}

#[derive(Debug, Clone)]
struct Candidate {
    id: Uuid,
    slug: String,
    place: Place,
    version: i32,
    dedicated: bool,
}

/// What tenants of one kind are compared with. Made once: nothing of it depends on a tenant.
#[derive(Debug)]
struct Reference {
    lines: Lines,
    hash: String,
}

type References = BTreeMap<(i32, bool), Arc<Reference>>;

impl Drift {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(database: &DatabaseConfig, schema: TenantSchema) -> Self {
        Self {
            database: database.clone(),
            provisioner: Provisioner::new(database, schema, 1),
            references: Arc::default(),
            replays: false,
        }
    }

    /// Compares with what the migrations make, also where there is a baseline: for a set that is not the program's own.
    #[must_use]
    pub fn by_migrations(mut self) -> Self {
        self.replays = true;
        self
    }

    /// Compares tenants (all, unless some are named) on so many connections, and the installation when no tenant is named.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`] for a slug that no tenant has, [`ProvisionError::Database`].
    pub async fn run(
        &self,
        slugs: &[String],
        connections: usize,
        progress: &(dyn Fn(DriftProgress) + Sync),
    ) -> Result<DriftReport, ProvisionError> {
        let client = self.client().await?;
        let candidates = candidates(&client, slugs).await?;
        for slug in slugs {
            if !candidates.iter().any(|candidate| candidate.slug == *slug) {
                return Err(ProvisionError::NotFound(slug.clone()));
            }
        }
        let latest = self.latest();
        let other = |candidate: &Candidate| OtherVersion { slug: candidate.slug.clone(), version: candidate.version };
        let (known, unknown): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| self.knows(candidate.version));
        let mut report = DriftReport {
            checked: known.len(),
            latest,
            behind: known.iter().filter(|candidate| candidate.version < latest).map(other).collect(),
            unknown: unknown.iter().map(other).collect(),
            ..DriftReport::default()
        };
        report.tenants = self.tenants(known, connections, progress).await?;
        if slugs.is_empty() {
            (report.installation, report.notes) = installation::differences(&client, has_warm(&client).await?).await?;
        }
        Ok(report)
    }

    /// What differs between a tenant from the baseline and one from all migrations; empty when the baseline is right.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn baseline(&self) -> Result<Vec<Difference>, DbError> {
        let client = self.client().await?;
        let make = |from| reference::lines(&client, &self.provisioner, from, false);
        let baseline = make(From::Baseline).await?;
        let replayed = make(From::Replay(self.provisioner.tables().migrations.latest())).await?;
        let nobody = Place { schema: String::new(), role: String::new(), cell: String::new() };
        Ok(compare::compare(&replayed, &baseline, &nobody, "tenant"))
    }

    fn latest(&self) -> i32 {
        self.provisioner.tables().version
    }

    /// Whether there is something to compare a tenant at this version with.
    fn knows(&self, version: i32) -> bool {
        version == self.latest() || self.provisioner.tables().migrations.get(version).is_some()
    }

    async fn client(&self) -> Result<Client, DbError> {
        let client = connect(&self.database, Logins::MIGRATOR).await?;
        client.batch_execute(catalog::SESSION).await?;
        Ok(client)
    }

    /// The reference for a tenant's version and kind.
    async fn reference(&self, client: &Client, candidate: &Candidate) -> Result<Arc<Reference>, DbError> {
        let key = (candidate.version, candidate.dedicated);
        let mut references = self.references.lock().await;
        if let Some(reference) = references.get(&key) {
            return Ok(Arc::clone(reference));
        }
        let from = if candidate.version == self.latest() && !self.replays {
            From::Baseline
        } else {
            From::Replay(candidate.version)
        };
        let lines = reference::lines(client, &self.provisioner, from, candidate.dedicated).await?;
        let reference = Arc::new(Reference { hash: hash(&lines), lines });
        references.insert(key, Arc::clone(&reference));
        Ok(reference)
    }

    async fn tenants(
        &self,
        known: Vec<Candidate>,
        connections: usize,
        progress: &(dyn Fn(DriftProgress) + Sync),
    ) -> Result<Vec<TenantDrift>, DbError> {
        let total = known.len();
        let batches: VecDeque<Vec<Candidate>> = known.chunks(BATCH).map(<[Candidate]>::to_vec).collect();
        let batches = Mutex::new(batches);
        let found = Mutex::new((Vec::new(), 0));
        let worker = || async {
            loop {
                let next = batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(batch) = next else { return Ok::<(), DbError>(()) };
                let drifted = self.batch(&batch).await?;
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.0.extend(drifted);
                found.1 += batch.len();
                progress(DriftProgress { done: found.1, total, drifted: found.0.len() });
            }
        };
        futures_util::future::try_join_all((0..connections.max(1)).map(|_| worker())).await?;
        let (mut tenants, _) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        tenants.sort_by(|a: &TenantDrift, b| a.slug.cmp(&b.slug));
        Ok(tenants)
    }

    async fn batch(&self, batch: &[Candidate]) -> Result<Vec<TenantDrift>, DbError> {
        let client = self.client().await?;
        let places: Vec<Place> = batch.iter().map(|candidate| candidate.place.clone()).collect();
        let hashes = catalog::hashes(&client, &places).await?;
        let mut drifted = Vec::new();
        for candidate in batch {
            let reference = self.reference(&client, candidate).await?;
            if hashes.get(&candidate.place.schema) != Some(&reference.hash) {
                drifted.extend(self.look(&client, candidate).await?);
            }
        }
        Ok(drifted)
    }

    /// Reads a tenant that differs. A tenant that is migrated, renamed or purged meanwhile is no drift.
    async fn look(&self, client: &Client, candidate: &Candidate) -> Result<Option<TenantDrift>, DbError> {
        let mut candidate = candidate.clone();
        for _ in 0..AGAIN {
            let reference = self.reference(client, &candidate).await?;
            let lines = catalog::lines(client, &candidate.place).await?;
            let Some(now) = one(client, candidate.id).await? else { return Ok(None) };
            if now.version != candidate.version || now.place != candidate.place {
                if !self.knows(now.version) {
                    return Ok(None);
                }
                candidate = now;
                continue;
            }
            let differences = compare::compare(&reference.lines, &lines, &candidate.place, "tenant");
            if differences.is_empty() {
                return Ok(None);
            }
            return Ok(Some(TenantDrift {
                slug: candidate.slug,
                schema_name: candidate.place.schema,
                version: candidate.version,
                differences,
            }));
        }
        Ok(None)
    }
}

/// The same hash as the server's.
fn hash(lines: &Lines) -> String {
    use sha2::Digest as _;
    let mut all: Vec<String> =
        lines.iter().map(|((kind, name), entry)| format!("{kind}\t{name}\t{}", entry.def)).collect();
    all.sort_unstable();
    sha2::Sha256::digest(all.join("\n").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tenants, and where there is such a table the schemas that wait for a tenant.
const CANDIDATES: &str = "SELECT * FROM (
     SELECT t.id, t.slug::text, t.schema_name::text, p.schema_version, c.login_role, c.dedicated
     FROM public.tenants t JOIN public.tenant_placements p ON p.tenant_id = t.id JOIN public.cells c ON c.id = p.cell_id
     --warm UNION ALL SELECT w.id, w.schema_name, w.schema_name, w.schema_version, c.login_role, false
     --warm FROM public.warm_schemas w JOIN public.cells c ON c.id = w.cell_id
     ) AS t";

/// Switches on the lines of a statement that need the table of warm schemas.
fn with_warm(sql: &str, warm: bool) -> String {
    if warm { sql.replace("--warm ", "") } else { sql.to_owned() }
}

async fn has_warm(client: &Client) -> Result<bool, DbError> {
    let rows = client.query_typed("SELECT to_regclass('public.warm_schemas') IS NOT NULL", &[]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

fn candidate(row: &tokio_postgres::Row) -> Candidate {
    let id: Uuid = row.get(0);
    let role = RoleName::for_tenant(tenantry_core::TenantId::from_uuid(id)).as_str().to_owned();
    Candidate {
        id,
        slug: row.get(1),
        place: Place { schema: row.get(2), role, cell: row.get(4) },
        version: row.get(3),
        dedicated: row.get(5),
    }
}

async fn candidates(client: &Client, slugs: &[String]) -> Result<Vec<Candidate>, DbError> {
    let all = with_warm(CANDIDATES, has_warm(client).await?);
    let sql = format!("{all} WHERE cardinality($1::text[]) = 0 OR t.slug = ANY ($1) ORDER BY t.slug");
    Ok(client.query_typed(&sql, &[typed(&slugs, Type::TEXT_ARRAY)]).await?.iter().map(candidate).collect())
}

async fn one(client: &Client, id: Uuid) -> Result<Option<Candidate>, DbError> {
    let all = with_warm(CANDIDATES, has_warm(client).await?);
    let sql = format!("{all} WHERE t.id = $1");
    Ok(client.query_typed(&sql, &[typed(&id, Type::UUID)]).await?.first().map(candidate))
}
