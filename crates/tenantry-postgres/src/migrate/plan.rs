//! Which tenants are to be done, and in which order.

use std::collections::{BTreeMap, HashSet};

use tenantry_core::{RoleName, SchemaName, TenantId};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::error::MigrateError;
use super::options::Options;
use crate::clients::typed;
use crate::error::DbError;

/// A tenant that is not where it should be.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: TenantId,
    pub(super) slug: String,
    pub(super) schema: SchemaName,
    pub(super) generation: i64,
    pub(super) version: i32,
    cell: i32,
    shard: String,
    canary: bool,
    failed_before: bool,
}

impl Pending {
    pub(super) fn role(&self) -> RoleName {
        RoleName::for_tenant(self.id)
    }
}

#[derive(Debug)]
pub(super) struct Wave {
    pub(super) name: String,
    pub(super) canary: bool,
    pub(super) tenants: Vec<Pending>,
}

/// How many tenants are at which version: one query, whatever the size of the fleet.
pub(super) async fn versions(client: &Client) -> Result<BTreeMap<i32, i64>, DbError> {
    let rows =
        client.query_typed("SELECT schema_version, count(*) FROM public.tenant_placements GROUP BY 1", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The tenants that are not at the target, in one query.
pub(super) async fn pending(
    client: &Client,
    down: bool,
    target: i32,
    options: &Options,
) -> Result<Vec<Pending>, MigrateError> {
    let compare = if down { ">" } else { "<" };
    let sql = format!(
        "SELECT t.id, t.slug, t.schema_name, p.canary OR t.slug = ANY ($2) AS canary, p.cell_id, c.shard, p.generation, p.schema_version, \
            t.id IN (SELECT l.tenant_id FROM public.migration_ledger l WHERE l.state = 'failed' \
                     AND l.run_id = (SELECT max(r.id) FROM public.migration_runs r)) AS failed_before \
         FROM public.tenant_placements p JOIN public.tenants t ON t.id = p.tenant_id JOIN public.cells c ON c.id = p.cell_id \
         WHERE p.schema_version {compare} $1 AND (cardinality($3::text[]) = 0 OR t.slug = ANY ($3)) AND t.slug <> ALL ($4)"
    );
    let params = [
        typed(&target, Type::INT4),
        typed(&options.canaries, Type::TEXT_ARRAY),
        typed(&options.tenants, Type::TEXT_ARRAY),
        typed(&options.exclude, Type::TEXT_ARRAY),
    ];
    let rows = client.query_typed(&sql, &params).await?;
    let tenant = |row: &tokio_postgres::Row| {
        let schema = SchemaName::from_registry(row.get("schema_name"))
            .map_err(|_| DbError::Misuse("the registry holds an invalid schema name"))?;
        Ok::<_, MigrateError>(Pending {
            id: TenantId::from_uuid(row.get::<_, Uuid>("id")),
            slug: row.get("slug"),
            schema,
            generation: row.get("generation"),
            version: row.get("schema_version"),
            cell: row.get("cell_id"),
            shard: row.get("shard"),
            canary: row.get("canary"),
            failed_before: row.get("failed_before"),
        })
    };
    rows.iter().map(tenant).collect()
}

/// Refuses slugs that nobody has: a mistyped canary would silently be none.
pub(super) async fn check_slugs(client: &Client, options: &Options) -> Result<(), MigrateError> {
    let named: Vec<&str> =
        [&options.tenants, &options.exclude, &options.canaries].into_iter().flatten().map(String::as_str).collect();
    if named.is_empty() {
        return Ok(());
    }
    let sql = "SELECT s FROM unnest($1::text[]) s WHERE NOT EXISTS (SELECT 1 FROM public.tenants t WHERE t.slug = s)";
    let unknown = client.query_typed(sql, &[typed(&named, Type::TEXT_ARRAY)]).await?;
    match unknown.first() {
        Some(row) => Err(MigrateError::UnknownTenant(row.get::<_, String>(0).chars().take(80).collect())),
        None => Ok(()),
    }
}

/// Canaries first, then shares of all others. Neighbours in the order are of different cells, so that no cell's tenants are all
/// at work at the same time; who failed in the last run comes last, so that a first wave is not made of known failures.
pub(super) fn waves(pending: Vec<Pending>, options: &Options) -> Vec<Wave> {
    let (canaries, mut others): (Vec<Pending>, Vec<Pending>) = pending.into_iter().partition(|tenant| tenant.canary);
    order(&mut others);
    let mut waves = Vec::new();
    if !canaries.is_empty() {
        waves.push(Wave { name: "canary".to_owned(), canary: true, tenants: canaries });
    }
    let (whole, mut done) = (others.len(), 0);
    let mut rest = others.into_iter();
    for share in &options.waves {
        let upto = share.of(whole);
        if upto > done {
            waves.push(Wave {
                name: share.to_string(),
                canary: false,
                tenants: rest.by_ref().take(upto - done).collect(),
            });
            done = upto;
        }
    }
    let rest: Vec<Pending> = rest.collect();
    if !rest.is_empty() {
        waves.push(Wave { name: "100 %".to_owned(), canary: false, tenants: rest });
    }
    waves
}

fn order(tenants: &mut [Pending]) {
    tenants.sort_by(|a, b| (&a.shard, a.cell, a.id).cmp(&(&b.shard, b.cell, b.id)));
    let mut place_in_cell = Vec::with_capacity(tenants.len());
    let mut last = None;
    let mut place = 0_usize;
    for tenant in &*tenants {
        place = if last == Some(tenant.cell) { place + 1 } else { 0 };
        last = Some(tenant.cell);
        place_in_cell.push((tenant.id, place));
    }
    let places: std::collections::HashMap<TenantId, usize> = place_in_cell.into_iter().collect();
    tenants.sort_by_key(|tenant| (tenant.failed_before, places.get(&tenant.id).copied().unwrap_or(0), tenant.cell));
}

/// The canary that a try is made on.
pub(super) fn first_canary(pending: &[Pending]) -> Option<Pending> {
    pending.iter().filter(|tenant| tenant.canary).min_by(|a, b| a.slug.cmp(&b.slug)).cloned()
}

/// Those of `pending` that were not met yet.
pub(super) fn unmet(pending: Vec<Pending>, met: &HashSet<TenantId>) -> Vec<Pending> {
    pending.into_iter().filter(|tenant| !met.contains(&tenant.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Actor;

    fn tenant(number: u128, cell: i32, canary: bool, failed_before: bool) -> Pending {
        Pending {
            id: TenantId::from_uuid(Uuid::from_u128(number)),
            slug: format!("t{number}"),
            schema: SchemaName::from_registry("tenant_a").unwrap(),
            generation: 1,
            version: 1,
            cell,
            shard: "main".into(),
            canary,
            failed_before,
        }
    }

    #[test]
    fn waves_grow_and_cells_alternate() {
        let mut tenants: Vec<Pending> =
            (0..60).map(|n| tenant(n, i32::try_from(n / 20).unwrap(), false, n == 0)).collect();
        tenants.push(tenant(60, 0, true, false));
        let waves = waves(tenants, &Options::new(Actor::system("test")));
        let shape: Vec<(&str, usize)> = waves.iter().map(|w| (w.name.as_str(), w.tenants.len())).collect();
        assert_eq!(shape, [("canary", 1), ("1 %", 1), ("10 %", 5), ("100 %", 54)]);
        assert!(waves[0].canary && waves[0].tenants[0].slug == "t60");
        assert_eq!(waves[3].tenants.last().unwrap().slug, "t0", "who failed comes last");
        let cells: Vec<i32> = waves[2].tenants.iter().map(|t| t.cell).collect();
        assert!(cells.windows(2).all(|pair| pair[0] != pair[1]), "{cells:?}");
    }

    #[test]
    fn a_last_wave_takes_the_rest_where_none_was_asked_for() {
        let options = Options { waves: vec!["50".parse().unwrap()], ..Options::new(Actor::system("test")) };
        let waves = waves((0..3).map(|n| tenant(n, 0, false, false)).collect(), &options);
        assert_eq!(waves.iter().map(|w| w.tenants.len()).collect::<Vec<_>>(), [2, 1]);
    }
}
