//! Measures what tenants use: the sizes of their schemas and what the domain counts in them.
//!
//! A hundred tenants at a time, on a connection of its own, because a backend keeps in memory what it has read of a table. One
//! server does this at a time; the others find nothing to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tenantry_core::calendar::month_name;
use tenantry_core::{SchemaName, TenantId, quote_literal};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::usage::USES;
use super::{Provisioner, audit};
use crate::clients::{Lent, typed};
use crate::error::{DbError, ProvisionError};
use crate::registry::{Actor, zone};

/// Held by the server that measures.
const MEASURE_LOCK: i64 = 7_468_657_468;
/// Tenants measured in one go.
const BATCH: usize = 100;
/// Of the use of a limit, in percent: when there is a warning.
const THRESHOLDS: [i64; 3] = [80, 90, 100];
/// So far below a threshold a tenant must get before it is warned of it again.
const SLACK: f64 = 5.0;

/// A measurement waits for no migration, and nobody for it.
const SESSION: &str = "SET statement_timeout = '60s'; SET lock_timeout = '2s'; SET search_path = pg_catalog, pg_temp";

const DUE: &str = "SELECT t.id, t.slug::text, t.schema_name::text, pl.schema_version, t.time_zone, now() \
    FROM public.tenants t JOIN public.tenant_placements pl ON pl.tenant_id = t.id \
    LEFT JOIN public.tenant_usage u ON u.tenant_id = t.id \
    WHERE CASE WHEN cardinality($1::text[]) > 0 THEN t.slug = ANY ($1) \
          ELSE t.status <> 'deleted' AND (u.measured_at IS NULL OR u.measured_at <= now() - make_interval(secs => $2)) END \
    ORDER BY u.measured_at NULLS FIRST, t.id";

/// By way of dependencies: `pg_class` has no index by schema, and a fleet's is long.
const SIZES: &str = "SELECT w.place, coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 \
    FROM unnest($1::text[]) WITH ORDINALITY AS w (schema_name, place) \
    JOIN pg_namespace n ON n.nspname = w.schema_name \
    LEFT JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.classid = 'pg_class'::regclass \
    LEFT JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'm') \
    GROUP BY w.place";

/// The freeze and its end are decided here and nowhere else; `before` is what it was.
const STORE: &str = "WITH measured AS ( \
        SELECT m.id, m.bytes, m.counters, coalesce(u.frozen, false) AS before, \
            tenantry.storage_frozen(m.bytes, coalesce(t.storage_limit_gb, p.storage_limit_gb), coalesce(u.frozen, false)) AS frozen \
        FROM unnest($1::uuid[], $2::int8[], $3::jsonb[]) AS m (id, bytes, counters) \
        JOIN public.tenants t ON t.id = m.id JOIN public.plans p ON p.tier = t.plan_tier \
        LEFT JOIN public.tenant_usage u ON u.tenant_id = m.id), \
    stored AS ( \
        INSERT INTO public.tenant_usage AS u (tenant_id, storage_bytes, counters, frozen, measured_at) \
        SELECT id, bytes, counters, frozen, clock_timestamp() FROM measured ORDER BY id \
        ON CONFLICT (tenant_id) DO UPDATE SET storage_bytes = excluded.storage_bytes, counters = excluded.counters, \
            frozen = excluded.frozen, measured_at = excluded.measured_at) \
    SELECT id, bytes, frozen FROM measured WHERE frozen <> before";

/// What a measurement did.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Tenants measured.
    pub tenants: usize,
    /// Tenants that could not be, by slug, such as one whose tables are locked by a migration.
    pub failed: Vec<String>,
    /// Tenants that have come to a threshold since they were warned of the one before.
    pub notices: Vec<QuotaNotice>,
    /// Tenants whose writes are refused from now on, by id.
    pub frozen: Vec<TenantId>,
    /// Tenants whose writes are taken again, by id.
    pub thawed: Vec<TenantId>,
    /// Another server measures at this moment; nothing was done.
    pub busy: bool,
}

/// A tenant that has come to a threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuotaNotice {
    /// The tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// Its public name.
    #[serde(skip)]
    pub slug: String,
    /// `agents`, `tasks`, `concurrent_tasks` or `storage`.
    pub quota_type: String,
    /// The member of plans and tenants that limits it.
    pub limit_name: String,
    /// How much there is.
    pub used: i64,
    /// How much there may be.
    pub limit: i64,
    /// Of the limit.
    pub percent: f64,
    /// 80, 90 or 100.
    pub threshold: i64,
}

#[derive(Debug, Clone)]
struct Due {
    id: TenantId,
    slug: String,
    schema: String,
    version: i32,
    /// The tenant's present month.
    month: String,
}

/// What was found of one tenant.
struct Found {
    id: TenantId,
    bytes: i64,
    counters: BTreeMap<String, i64>,
}

impl Provisioner {
    /// Measures the tenants whose last measurement is older than this, or those that are named, whenever they were measured. Of
    /// several servers that do the first at the same time, one does it.
    ///
    /// Warnings are given until [`warned`](Self::warned) says that they were passed on.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`] for a slug that no tenant has, [`ProvisionError::Database`].
    pub async fn measure(&self, older_than: Duration, slugs: &[String]) -> Result<Measured, ProvisionError> {
        let alone = self.migrator.get().await?;
        if slugs.is_empty() {
            let sql = format!("SELECT pg_try_advisory_lock({MEASURE_LOCK})");
            if !alone.query_typed(&sql, &[]).await?.first().is_some_and(|row| row.get(0)) {
                alone.give_back();
                return Ok(Measured { busy: true, ..Measured::default() });
            }
        }
        let due = due(&alone, older_than, slugs).await?;
        for slug in slugs {
            if !due.iter().any(|due| due.slug == *slug) {
                alone.give_back();
                return Err(ProvisionError::NotFound(slug.chars().take(80).collect()));
            }
        }
        let mut measured = Measured::default();
        for batch in due.chunks(BATCH) {
            self.batch(batch, &mut measured).await?;
        }
        if slugs.is_empty() {
            alone.query_typed(&format!("SELECT pg_advisory_unlock({MEASURE_LOCK})"), &[]).await?;
        }
        alone.give_back();
        Ok(measured)
    }

    /// Notes that a tenant was told of a threshold, so that it is not told again before it has been below.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn warned(&self, notice: &QuotaNotice) -> Result<(), ProvisionError> {
        let client = self.migrator.get().await?;
        let warned = json!({ &notice.quota_type: notice.threshold });
        let params = [typed(notice.tenant.as_uuid(), Type::UUID), typed(&warned, Type::JSONB)];
        client
            .execute_typed("UPDATE public.tenant_usage SET warned = warned || $2 WHERE tenant_id = $1", &params)
            .await?;
        client.give_back();
        Ok(())
    }

    /// One tenant that cannot be measured does not keep the others from it.
    async fn batch(&self, batch: &[Due], measured: &mut Measured) -> Result<(), DbError> {
        let found = match self.look(batch).await {
            Ok(found) => found,
            Err(DbError::Unavailable(why)) => return Err(DbError::Unavailable(why)),
            Err(_) if batch.len() > 1 => {
                let mut found = Vec::with_capacity(batch.len());
                for due in batch {
                    match self.look(std::slice::from_ref(due)).await {
                        Ok(one) => found.extend(one),
                        Err(error) => skip(due, &error, measured),
                    }
                }
                found
            }
            Err(error) => {
                batch.iter().for_each(|due| skip(due, &error, measured));
                Vec::new()
            }
        };
        measured.tenants += found.len();
        self.store(&found, measured).await
    }

    async fn look(&self, batch: &[Due]) -> Result<Vec<Found>, DbError> {
        // Dropped at the end, and thereby closed.
        let client = self.migrator.get().await?;
        client.batch_execute(SESSION).await?;
        let schemas: Vec<&str> = batch.iter().map(|due| due.schema.as_str()).collect();
        let mut found = Vec::with_capacity(batch.len());
        for row in client.query_typed(SIZES, &[typed(&schemas, Type::TEXT_ARRAY)]).await? {
            let Some(due) = place(&row, batch) else { continue };
            found.push(Found { id: due.id, bytes: row.get(1), counters: BTreeMap::new() });
        }
        let Some(sql) = self.counters_of(batch) else { return Ok(found) };
        for row in client.query_typed(&sql, &[]).await? {
            let Some(due) = place(&row, batch) else { continue };
            if let Some(found) = found.iter_mut().find(|found| found.id == due.id) {
                *found.counters.entry(row.get(1)).or_default() += row.get::<_, i64>(2);
            }
        }
        Ok(found)
    }

    /// The domain's own statement over all schemas of a batch that are as new as it needs.
    fn counters_of(&self, batch: &[Due]) -> Option<String> {
        let statement = self.schema.usage?;
        let parts: Vec<String> = (1_i64..)
            .zip(batch)
            .filter(|(_, due)| due.version >= self.schema.needs)
            .filter_map(|(place, due)| {
                let schema = SchemaName::from_registry(&due.schema).ok()?;
                let own = statement.for_schema(&schema).replace("$1", &quote_literal(&due.month));
                Some(format!("SELECT {place}::int8, name::text, used::int8 FROM ({own}) AS u (name, used)"))
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join(" UNION ALL "))
    }

    async fn store(&self, found: &[Found], measured: &mut Measured) -> Result<(), DbError> {
        let ids: Vec<Uuid> = found.iter().map(|found| *found.id.as_uuid()).collect();
        let bytes: Vec<i64> = found.iter().map(|found| found.bytes).collect();
        let counters: Vec<Value> = found.iter().map(|found| json!(found.counters)).collect();
        let client = self.migrator.get().await?;
        client.batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'").await?;
        let params =
            [typed(&ids, Type::UUID_ARRAY), typed(&bytes, Type::INT8_ARRAY), typed(&counters, Type::JSONB_ARRAY)];
        for row in client.query_typed(STORE, &params).await? {
            let (id, bytes, frozen): (Uuid, i64, bool) = (row.get(0), row.get(1), row.get(2));
            let action = if frozen { "tenant.storage_frozen" } else { "tenant.storage_thawed" };
            let actor = Actor::system("storage limits");
            audit(&client, Some(id), &actor, action, &format!("tenant/{id}"), json!({ "storage_bytes": bytes }))
                .await?;
            if frozen { &mut measured.frozen } else { &mut measured.thawed }.push(TenantId::from_uuid(id));
        }
        let notices = notices(&client, &ids).await?;
        client.batch_execute("COMMIT").await?;
        measured.notices.extend(notices);
        client.give_back();
        Ok(())
    }
}

fn place<'a>(row: &tokio_postgres::Row, batch: &'a [Due]) -> Option<&'a Due> {
    let place: i64 = row.get(0);
    batch.get(usize::try_from(place - 1).ok()?)
}

fn skip(due: &Due, error: &DbError, measured: &mut Measured) {
    tracing::info!(target: "tenantry::usage", tenant = due.slug, %error, "not measured this time");
    measured.failed.push(due.slug.clone());
}

async fn due(client: &Lent, older_than: Duration, slugs: &[String]) -> Result<Vec<Due>, DbError> {
    let seconds = older_than.as_secs_f64();
    let params = [typed(&slugs, Type::TEXT_ARRAY), typed(&seconds, Type::FLOAT8)];
    let rows = client.query_typed(DUE, &params).await?;
    Ok(rows
        .iter()
        .map(|row| Due {
            id: TenantId::from_uuid(row.get(0)),
            slug: row.get(1),
            schema: row.get(2),
            version: row.get(3),
            month: month_name(row.get(5), zone(row.get(4))),
        })
        .collect())
}

/// Compares each use with the threshold that was warned of last. Whoever is well below that is forgotten, and warned again later.
async fn notices(client: &Client, ids: &[Uuid]) -> Result<Vec<QuotaNotice>, DbError> {
    let sql = format!(
        "SELECT q.*, w.warned FROM ({USES} WHERE t.id = ANY ($1)) AS q JOIN public.tenant_usage w ON w.tenant_id = q.id ORDER BY q.id"
    );
    let mut notices = Vec::new();
    for row in client.query_typed(&sql, &[typed(&ids, Type::UUID_ARRAY)]).await? {
        let id: Uuid = row.get("id");
        let quota_type: String = row.get("quota_type");
        let warned: Value = row.get("warned");
        let before = warned[&quota_type].as_i64().unwrap_or(0);
        let percent = row.get::<_, Option<f64>>("percent").unwrap_or(0.0);
        let reached = THRESHOLDS.into_iter().rfind(|threshold| percent >= as_percent(*threshold)).unwrap_or(0);
        if reached > before {
            notices.push(QuotaNotice {
                tenant: TenantId::from_uuid(id),
                slug: row.get("slug"),
                quota_type,
                limit_name: row.get("limit_name"),
                used: row.get::<_, Option<i64>>("used").unwrap_or(0),
                limit: row.get::<_, Option<i64>>("most").unwrap_or(0),
                percent,
                threshold: reached,
            });
        } else if before > 0 && percent < as_percent(before) - SLACK {
            let sql = format!(
                "UPDATE public.tenant_usage SET warned = warned || jsonb_build_object({}, $2::int8) WHERE tenant_id = $1",
                quote_literal(&quota_type)
            );
            client.execute_typed(&sql, &[typed(&id, Type::UUID), typed(&reached, Type::INT8)]).await?;
        }
    }
    Ok(notices)
}

/// A threshold is a small whole number.
fn as_percent(threshold: i64) -> f64 {
    i32::try_from(threshold).map_or(f64::MAX, f64::from)
}
