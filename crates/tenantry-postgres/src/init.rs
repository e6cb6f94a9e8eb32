//! Prepares a database: roles, privileges, registry and analytics. Repeatable: a second run heals and changes nothing else.

use tenantry_core::{quote_identifier, quote_literal};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::clients::typed;
use crate::config::DatabaseConfig;
use crate::connect::{Logins, connect, rustls_connector};
use crate::error::DbError;
use crate::migrate::{MigrateError, Migration, shared};

/// What PUBLIC may not call: with these, one injected statement could change its role and read on within itself,
/// talk to other sessions, or keep something outside every tenant's schema. Superusers are not concerned.
pub(crate) const FORBIDDEN_FUNCTIONS: &[&str] = &[
    "set_config",
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
    "lo_create",
    "lo_creat",
    "lo_from_bytea",
    "lo_put",
    "lo_get",
    "lo_open",
    "lo_import",
    "lo_export",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "lowrite",
    "loread",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "pg_notify",
    "pg_export_snapshot",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_log_backend_memory_contexts",
    "pg_logical_emit_message",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_lock_status",
    "pg_blocking_pids",
    "pg_prepared_xact",
    "pg_read_file_old",
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
    "pg_database_size",
    "pg_tablespace_size",
];

/// Functions named so count rows, scans and sessions, of every tenant alike. The statistics views stand on them.
pub(crate) const STATISTICS_FUNCTIONS: &str = "pg\\_stat\\_get\\_%";

/// What the planner knows of every table's size, which PUBLIC need not read.
pub(crate) const SIZE_COLUMNS: &[&str] = &["reltuples", "relpages", "relallvisible", "relallfrozen"];

/// What [`initialise`] did.
#[derive(Debug, Clone, Default)]
pub struct InitReport {
    /// Roles that did not exist before.
    pub roles_created: Vec<String>,
    /// Migrations applied now.
    pub migrations_applied: Vec<String>,
    /// What could not be secured, and why.
    pub warnings: Vec<String>,
}

/// Prepares the database that `admin_url` names, with that URL's user: a superuser, or a role with CREATEROLE
/// that owns the database. It is needed here only, never at run time.
///
/// # Errors
/// [`MigrateError`] when the server is away, the user may not, or the database was prepared by a later program.
pub async fn initialise(admin_url: &str, database: &DatabaseConfig) -> Result<InitReport, MigrateError> {
    let config: tokio_postgres::Config = admin_url.parse().map_err(DbError::from)?;
    let client = open(&config).await?;
    let mut report = InitReport::default();
    // Two at once: the second waits here and then finds everything done.
    client.batch_execute(&format!("SELECT pg_advisory_lock({})", shared::PREPARE_LOCK)).await?;
    let version: i32 = one(&client, "SELECT current_setting('server_version_num')::int").await?;
    let superuser: bool = one(&client, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").await?;
    roles(&client, database, version, superuser, &mut report).await?;
    privileges(&client, superuser, &mut report).await?;
    let step = |scope, migration: &Migration| report.migrations_applied.push(format!("{scope} {}", migration.label()));
    shared::apply(&client, step).await?;
    cell_passwords(&client, database).await?;
    client.batch_execute("SET ROLE tenantry_owner; SELECT analytics.ensure_partitions(3); RESET ROLE").await?;
    if superuser {
        heal_settings(&client).await?;
    }
    Ok(report)
}

/// Whether the server that `admin_url` names has Tenantry's roles already.
///
/// # Errors
/// [`DbError`] when the server is away or the user may not.
pub async fn is_installed(admin_url: &str) -> Result<bool, DbError> {
    let config: tokio_postgres::Config = admin_url.parse().map_err(DbError::from)?;
    let client = open(&config).await?;
    one(&client, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenantry_control')").await
}

/// Whether the server's installation has this secret. Where it does, [`initialise`] changes no password.
///
/// # Errors
/// [`DbError`] when the server is away.
pub async fn secret_fits(database: &DatabaseConfig) -> Result<bool, DbError> {
    match connect(database, Logins::CONTROL).await {
        Ok(_) => Ok(true),
        Err(error) if error.sqlstate() == Some("28P01") => Ok(false),
        // The password is looked at before the right to connect to this database.
        Err(error) if error.sqlstate().is_some() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Creates a database unless it exists, on the server that `admin_url` names.
///
/// # Errors
/// [`DbError`] when the server is away or the user may not.
pub async fn create_database(admin_url: &str, name: &str) -> Result<(), DbError> {
    let config: tokio_postgres::Config = admin_url.parse().map_err(DbError::from)?;
    let client = open(&config).await?;
    let found = client.query_typed("SELECT 1 FROM pg_database WHERE datname = $1", &[typed(&name, Type::TEXT)]).await?;
    if found.is_empty() {
        client.batch_execute(&format!("CREATE DATABASE {}", quote_identifier(name))).await?;
    }
    Ok(())
}

pub(crate) async fn open(config: &tokio_postgres::Config) -> Result<Client, DbError> {
    if config.get_ssl_mode() == tokio_postgres::config::SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(DbError::not_connected)?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let (client, connection) = config.connect(rustls_connector()?).await.map_err(DbError::not_connected)?;
    tokio::spawn(connection);
    Ok(client)
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> Result<T, DbError> {
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map(|row| row.get(0)).ok_or(DbError::Misuse("a statement for one row gave none"))
}

async fn roles(
    client: &Client,
    database: &DatabaseConfig,
    version: i32,
    superuser: bool,
    report: &mut InitReport,
) -> Result<(), DbError> {
    let groups = [Logins::OWNER, Logins::TENANT_GROUP];
    let logins = [
        (Logins::MIGRATOR, "INHERIT CREATEROLE"),
        (Logins::CONTROL, "INHERIT NOCREATEROLE"),
        (Logins::AUDITOR, "NOINHERIT NOCREATEROLE"),
        (Logins::METER, "NOINHERIT NOCREATEROLE"),
    ];
    // From 16 on, who may not create databases may not even take that right away. A new role does not have it.
    let no_databases = if superuser { " NOCREATEDB" } else { "" };
    for role in groups {
        ensure_role(client, role, &format!("NOLOGIN NOINHERIT NOCREATEROLE{no_databases}"), report).await?;
    }
    for (role, rights) in logins {
        let password = quote_literal(&database.secret.verifier_of(role));
        let options = format!("LOGIN {rights}{no_databases} PASSWORD {password}");
        ensure_role(client, role, &options, report).await?;
    }
    if version >= 160_000 {
        client
            .batch_execute(
                "GRANT tenantry_owner TO tenantry_migrator WITH INHERIT TRUE, SET TRUE; \
             GRANT tenantry_tenant TO tenantry_migrator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
            )
            .await?;
    } else {
        client.batch_execute("GRANT tenantry_owner TO tenantry_migrator").await?;
    }
    if !superuser {
        client.batch_execute("GRANT tenantry_owner TO CURRENT_USER").await?;
    }
    Ok(())
}

async fn ensure_role(client: &Client, role: &str, options: &str, report: &mut InitReport) -> Result<(), DbError> {
    let exists =
        !client.query_typed("SELECT 1 FROM pg_roles WHERE rolname = $1", &[typed(&role, Type::TEXT)]).await?.is_empty();
    let verb = if exists { "ALTER" } else { "CREATE" };
    client.batch_execute(&format!("{verb} ROLE {} {options}", quote_identifier(role))).await?;
    if !exists {
        report.roles_created.push(role.to_owned());
    }
    Ok(())
}

/// Gives every cell's login the password of the present secret: after a restore, or when the secret was changed.
async fn cell_passwords(client: &Client, database: &DatabaseConfig) -> Result<(), DbError> {
    let sql = "SELECT login_role FROM public.cells JOIN pg_roles ON rolname = login_role";
    for row in client.query_typed(sql, &[]).await? {
        let role: String = row.get(0);
        let password = quote_literal(&database.secret.verifier_of(&role));
        client.batch_execute(&format!("ALTER ROLE {} PASSWORD {password}", quote_identifier(&role))).await?;
    }
    Ok(())
}

async fn privileges(client: &Client, superuser: bool, report: &mut InitReport) -> Result<(), DbError> {
    let database: String = one(client, "SELECT current_database()::text").await?;
    let database = quote_identifier(&database);
    client
        .batch_execute(&format!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC; \
             GRANT CREATE, CONNECT ON DATABASE {database} TO tenantry_owner WITH GRANT OPTION; \
             GRANT CONNECT ON DATABASE {database} TO tenantry_migrator, tenantry_control, tenantry_meter, tenantry_auditor; \
             REVOKE ALL ON SCHEMA public FROM PUBLIC; \
             GRANT USAGE, CREATE ON SCHEMA public TO tenantry_owner; \
             GRANT TEMPORARY ON DATABASE {database} TO tenantry_meter; \
             GRANT USAGE ON SCHEMA public TO tenantry_control, tenantry_auditor, tenantry_meter"
        ))
        .await?;
    if !superuser {
        report.warnings.push(
            "not a superuser: PUBLIC keeps EXECUTE on server functions such as set_config and lo_create; run `tenantry init` once as superuser to withdraw it"
                .into(),
        );
        return Ok(());
    }
    let list = |names: &[&str]| names.iter().map(|n| quote_literal(n)).collect::<Vec<_>>().join(", ");
    // What PUBLIC has lost already is left alone: a second run writes nothing. The database's owner may run the next init, which begins with a
    // lock, before it is a member of `tenantry_owner`.
    client
        .batch_execute(&format!(
            "DO $$ DECLARE f regprocedure; columns text; BEGIN \
               FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
                        AND (proname IN ({functions}) OR proname LIKE {statistics}) \
                        AND has_function_privilege('public', oid, 'EXECUTE') LOOP \
                 EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f); \
                 EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tenantry_owner, tenantry_migrator, tenantry_control, pg_monitor', f); \
               END LOOP; \
               IF has_column_privilege('public', 'pg_catalog.pg_class', 'reltuples', 'SELECT') THEN \
                 SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute \
                   WHERE attrelid = 'pg_catalog.pg_class'::regclass AND attname <> ALL (ARRAY[{sizes}]); \
                 REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC; \
                 EXECUTE format('GRANT SELECT (%s) ON pg_catalog.pg_class TO PUBLIC', columns); \
                 GRANT SELECT ON pg_catalog.pg_class TO tenantry_owner, tenantry_migrator, tenantry_control, tenantry_auditor, pg_monitor; \
               END IF; \
             END $$; \
             DO $$ DECLARE boss oid; BEGIN \
               SELECT datdba INTO boss FROM pg_database WHERE datname = current_database(); \
               IF NOT has_function_privilege(boss, 'pg_advisory_lock(bigint)', 'EXECUTE') THEN \
                 EXECUTE format('GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock(bigint) TO %I', pg_get_userbyid(boss)); \
               END IF; \
             END $$; \
             REVOKE UPDATE ON pg_catalog.pg_settings FROM PUBLIC; \
             REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; \
             GRANT USAGE ON LANGUAGE plpgsql TO tenantry_owner",
            functions = list(FORBIDDEN_FUNCTIONS),
            statistics = quote_literal(STATISTICS_FUNCTIONS),
            sizes = list(SIZE_COLUMNS),
        ))
        .await?;
    Ok(())
}

/// A role may change its own defaults, and PostgreSQL has no way to forbid it. So whoever had a cell's login may have sent
/// each new session somewhere else: every role of tenants and cells starts with what it was made with again.
async fn heal_settings(client: &Client) -> Result<(), DbError> {
    client
        .batch_execute(
            "DO $$ DECLARE s record; BEGIN \
               FOR s IN SELECT r.rolname, d.datname FROM pg_db_role_setting g JOIN pg_roles r ON r.oid = g.setrole \
                        LEFT JOIN pg_database d ON d.oid = g.setdatabase \
                        WHERE r.rolname IN (SELECT login_role FROM public.cells \
                                            UNION SELECT 'tnt_' || replace(id::text, '-', '') FROM public.tenants \
                                            UNION SELECT role_name FROM public.warm_schemas) LOOP \
                 IF s.datname IS NULL THEN EXECUTE format('ALTER ROLE %I RESET ALL', s.rolname); \
                 ELSE EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', s.rolname, s.datname); END IF; \
               END LOOP; \
               FOR s IN SELECT rolname FROM pg_roles JOIN public.cells ON login_role = rolname LOOP \
                 EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog, pg_temp', s.rolname); \
               END LOOP; END $$",
        )
        .await?;
    Ok(())
}
