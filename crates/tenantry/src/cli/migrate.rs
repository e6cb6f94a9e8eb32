//! `tenantry migrate …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tenantry::Settings;
use tenantry_postgres::TenantSchema;
use tenantry_postgres::migrate::{Fleet, HistoryFilter, MigrationSet, Scope, Status};

use super::migrate_drift::DriftArgs;
use super::migrate_lint::LintArgs;
use super::migrate_plan::PlanArgs;
use super::migrate_run::{DownArgs, UpArgs};
use super::output::{self, optional, time};
use super::{CliError, Global, Output, migrate_drift, migrate_lint, migrate_plan, migrate_run, say};

#[derive(Debug, Subcommand)]
pub(super) enum MigrateCommand {
    /// Write the next numbered pair of files into a directory
    New(NewArgs),
    /// Bring registry, analytics and every tenant to the latest version
    Up(UpArgs),
    /// Take every tenant back to a version
    Down(DownArgs),
    /// Say where everybody is
    Status(SetArgs),
    /// Look whether every tenant is what the migrations make of it, privileges included
    Drift(DriftArgs),
    /// Explain what is dangerous in migrations, and the safer way
    Lint(LintArgs),
    /// Say what would run where, and try it on one tenant in a transaction that is rolled back
    Plan(PlanArgs),
    /// Say what was done: runs, or the steps of a run or a tenant
    History(HistoryArgs),
}

/// Where the tenants' migrations come from.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// A directory with the tenants' migrations, instead of the platform's own
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

impl SetArgs {
    pub(super) fn read(&self) -> Result<MigrationSet, CliError> {
        match &self.dir {
            Some(dir) => Ok(MigrationSet::read(Scope::Tenant, dir)?),
            None => Ok(workforce::tenant_schema().migrations),
        }
    }

    /// What the set makes of a tenant. The platform's first migration comes with the grants that provisioning gives; another domain's
    /// files bring their own.
    pub(super) fn schema(&self) -> Result<TenantSchema, CliError> {
        let own = workforce::tenant_schema();
        if self.dir.is_none() {
            return Ok(own);
        }
        let schema = TenantSchema::replaying(self.read()?, &[]);
        let first = |set: &MigrationSet| set.get(1).map(|migration| migration.checksum);
        if first(&schema.migrations) == first(&own.migrations) {
            return Ok(TenantSchema { tables: own.tables, append_only: own.append_only, ..schema });
        }
        Ok(schema)
    }
}

/// Arguments of `migrate new`.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What it does, such as `add_color`
    name: String,
    /// The directory
    #[arg(long, value_name = "DIR", default_value = "migrations/tenant")]
    dir: PathBuf,
    /// For one statement that cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`
    #[arg(long)]
    no_transaction: bool,
    /// Without a file that undoes it
    #[arg(long)]
    no_down: bool,
}

/// Arguments of `migrate history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The steps of this tenant
    slug: Option<String>,
    /// The steps of this run
    #[arg(long, value_name = "NUMBER")]
    run: Option<i64>,
    /// Only steps that failed or were left out
    #[arg(long)]
    failed: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

pub(super) async fn run(command: MigrateCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    match command {
        MigrateCommand::New(args) => new(&args, global.output),
        MigrateCommand::Up(args) => migrate_run::up(args, global, settings).await,
        MigrateCommand::Down(args) => migrate_run::down(args, global, settings).await,
        MigrateCommand::Status(args) => {
            let fleet = Fleet::new(&global.database(settings)?, args.read()?);
            status(&fleet.status().await?, global.output)
        }
        MigrateCommand::Drift(args) => migrate_drift::run(args, global, settings).await,
        MigrateCommand::Lint(args) => migrate_lint::run(&args, global.output),
        MigrateCommand::Plan(args) => migrate_plan::run(args, global, settings).await,
        MigrateCommand::History(args) => {
            let fleet = Fleet::new(&global.database(settings)?, MigrationSet::none(Scope::Tenant));
            history(&fleet, args, global.output).await
        }
    }
}

fn new(args: &NewArgs, output: Output) -> Result<(), CliError> {
    MigrationSet::check_name(&format!("0001_{}.sql", args.name))?;
    let set = if args.dir.exists() {
        MigrationSet::read(Scope::Tenant, &args.dir)?
    } else {
        MigrationSet::none(Scope::Tenant)
    };
    let label = format!("{:04}_{}", set.latest() + 1, args.name);
    let mark = if args.no_transaction { "-- tenantry: no-transaction\n" } else { "" };
    let up = format!(
        "{mark}-- {label}: say what changes and why.\n\
         -- `tenant.` is the tenant's schema, `tenant_role` its role. A new table needs its grants, by name:\n\
         --   GRANT SELECT, INSERT, UPDATE, DELETE ON tenant.notes TO tenant_role;\n\n"
    );
    let mut files = vec![(format!("{label}.sql"), up)];
    if !args.no_down {
        files.push((
            format!("{label}.down.sql"),
            format!("{mark}-- Undoes {label}. Delete this file where that is not possible.\n\n"),
        ));
    }
    std::fs::create_dir_all(&args.dir)?;
    let mut written = Vec::new();
    for (file, text) in &files {
        let path = args.dir.join(file);
        write_new(&path, text)?;
        written.push(path.display().to_string());
    }
    if output == Output::Json {
        return output::json(&written);
    }
    for path in &written {
        say(format!("wrote `{path}`"));
    }
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    let mut file = std::fs::File::create_new(path)
        .map_err(|error| CliError::failed(format!("cannot write `{}`: {error}", path.display())))?;
    Ok(file.write_all(text.as_bytes())?)
}

fn status(status: &Status, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return output::json(status);
    }
    let mut lines = Vec::new();
    for set in &status.shared {
        let what =
            if set.pending.is_empty() { "complete".to_owned() } else { format!("lacks {}", set.pending.join(", ")) };
        lines.push((set.scope.as_str(), format!("version {}, {what}", set.version)));
    }
    for count in &status.versions {
        let place = match count.version.cmp(&status.latest) {
            std::cmp::Ordering::Less => "behind",
            std::cmp::Ordering::Equal => "latest",
            std::cmp::Ordering::Greater => "ahead of this program",
        };
        lines.push(("tenants", format!("{} at version {}, {place}", count.tenants, count.version)));
    }
    if status.versions.is_empty() {
        lines.push(("tenants", format!("none; latest version {}", status.latest)));
    }
    if let Some(run) = &status.last_run {
        let outcome = run.outcome.as_deref().unwrap_or("at work, or killed");
        let reason = run.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push((
            "last run",
            format!(
                "{} ({} to {} by {}), {outcome}{reason}, began {}",
                run.id,
                run.direction,
                run.target,
                run.actor,
                time(run.started_at)
            ),
        ));
    }
    output::record(output, status, &lines)?;
    if !status.failed.is_empty() {
        output::print("")?;
        let columns = ["failed", "at", "step", "run", "sqlstate", "tries", "error"];
        output::list(output, &status.failed, &columns, |failure| {
            vec![
                failure.slug.clone(),
                failure.at.to_string(),
                format!("{} {}", failure.direction, failure.version),
                optional(failure.run),
                optional(failure.sqlstate.clone()),
                failure.attempts.to_string(),
                optional(failure.error.clone()),
            ]
        })?;
    }
    Ok(())
}

async fn history(fleet: &Fleet, args: HistoryArgs, output: Output) -> Result<(), CliError> {
    let limit = i64::from(args.limit);
    if args.slug.is_none() && args.run.is_none() && !args.failed {
        let columns = ["run", "direction", "to", "outcome", "migrated", "failed", "skipped", "began", "ended", "by"];
        return output::list(output, &fleet.runs(limit).await?, &columns, |run| {
            vec![
                run.id.to_string(),
                run.direction.clone(),
                run.target.to_string(),
                optional(run.outcome.clone()),
                run.migrated.to_string(),
                run.failed.to_string(),
                run.skipped.to_string(),
                time(run.started_at),
                optional(run.ended_at.map(time)),
                run.actor.clone(),
            ]
        });
    }
    let filter = HistoryFilter { slug: args.slug, run: args.run, failed: args.failed, before: None, limit };
    let columns = ["run", "tenant", "step", "state", "began", "ms", "tries", "sqlstate", "error"];
    output::list(output, &fleet.history(&filter).await?, &columns, |row| {
        vec![
            optional(row.run),
            optional(
                row.slug.clone().or_else(|| row.tenant_id.map(|id| id.to_string())).or_else(|| Some(row.scope.clone())),
            ),
            format!("{} {}", row.direction, row.version),
            row.state.clone(),
            time(row.started_at),
            optional(row.duration_ms.map(|ms| format!("{ms:.1}"))),
            row.attempts.to_string(),
            optional(row.sqlstate.clone()),
            optional(row.error.clone()),
        ]
    })
}
