//! What a schema holds, read from the server's catalog as lines that can be compared between tenants.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::clients::typed;
use crate::error::DbError;

/// Stands for the own schema and its dot.
pub(super) const SCHEMA: char = '\u{1}';
/// Stands for the tenant's role.
pub(super) const ROLE: char = '\u{2}';
/// Stands for the login of the tenant's cell.
pub(super) const CELL: char = '\u{3}';
/// Stands for the own schema where it is the object itself.
pub(super) const SCHEMA_ITSELF: char = '\u{4}';
/// Parts the members of a name.
pub(super) const PART: char = '\u{1f}';

const CATALOG: &str = include_str!("catalog.sql");

/// A schema, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name.
    pub(super) schema: String,
    /// The tenant's role; empty for a schema that is nobody's.
    pub(super) role: String,
    /// The login of the tenant's cell; empty where there is none.
    pub(super) cell: String,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its definition, with marks for own names.
    pub(super) def: String,
    /// The table, view, function or type it is part of, or empty.
    pub(super) within: String,
}

/// All of a schema, by kind and name.
pub(super) type Lines = BTreeMap<(String, String), Entry>;

/// A schema's hash over its lines; what does not exist has none.
pub(super) async fn hashes(client: &Client, places: &[Place]) -> Result<BTreeMap<String, String>, DbError> {
    let sql = format!(
        "{CATALOG} SELECT nspname::text, encode(sha256(convert_to(string_agg(line, chr(10) ORDER BY line COLLATE \"C\"), 'UTF8')), 'hex') \
         FROM normal, LATERAL (SELECT concat_ws(chr(9), kind, name, def) AS line) AS l GROUP BY nspname"
    );
    Ok(read(client, &sql, places).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A schema's lines; none when there is no such schema.
pub(super) async fn lines(client: &Client, place: &Place) -> Result<Lines, DbError> {
    let sql = format!("{CATALOG} SELECT kind, name, def, within FROM normal");
    let rows = read(client, &sql, std::slice::from_ref(place)).await?;
    Ok(rows.iter().map(|r| ((r.get(0), r.get(1)), Entry { def: r.get(2), within: r.get(3) })).collect())
}

async fn read(client: &Client, sql: &str, places: &[Place]) -> Result<Vec<tokio_postgres::Row>, DbError> {
    let column = |member: fn(&Place) -> &str| places.iter().map(member).collect::<Vec<_>>();
    let (schemas, roles, cells) = (column(|p| &p.schema), column(|p| &p.role), column(|p| &p.cell));
    let params = [typed(&schemas, Type::TEXT_ARRAY), typed(&roles, Type::TEXT_ARRAY), typed(&cells, Type::TEXT_ARRAY)];
    Ok(client.query_typed(sql, &params).await?)
}

/// The session in which catalogs are read: nothing is named without its schema, and nothing is compiled for one use.
pub(super) const SESSION: &str = "SET search_path = pg_catalog, pg_temp; SET jit = off; SET work_mem = '64MB'; SET statement_timeout = '10min'; SET quote_all_identifiers = off";
