//! `tenantry migrate plan`.

use clap::Args;
use tenantry::Settings;
use tenantry_postgres::Actor;
use tenantry_postgres::migrate::{DryRun, Fleet, Options, Preview};

use super::migrate::SetArgs;
use super::output::{self, print};
use super::{CliError, Global, Output, say};

/// Arguments of `migrate plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Only up to this version
    #[arg(long, value_name = "VERSION")]
    to: Option<i32>,
    /// Try it on this tenant; the first canary unless given
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Do not try it
    #[arg(long, conflicts_with = "tenant")]
    no_dry_run: bool,
}

pub(super) async fn run(args: PlanArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let fleet = Fleet::new(&global.database(settings)?, args.set.read()?);
    let options = Options { to: args.to, ..Options::new(Actor::cli()) };
    let preview = if args.no_dry_run {
        fleet.outlook(&options).await?
    } else {
        fleet.preview(&options, args.tenant.as_deref()).await?
    };
    if global.output == Output::Json {
        output::json(&preview)?;
    } else {
        text(&preview)?;
    }
    let failed = preview.dry_run.iter().flat_map(|run| run.steps.iter().map(move |step| (run, step)));
    match failed.filter_map(|(run, step)| Some((run, step, step.error.as_ref()?))).next() {
        Some((run, step, error)) => {
            Err(CliError::failed(format!("`{}` fails on `{}`: {error}", step.migration, run.slug)))
        }
        None => Ok(()),
    }
}

fn text(preview: &Preview) -> Result<(), CliError> {
    for step in &preview.shared {
        print(&format!("first   {step}"))?;
    }
    if preview.steps.is_empty() && preview.notes.is_empty() {
        print(&format!("nothing to do: every tenant is at version {} or above", preview.target))?;
    }
    if !preview.steps.is_empty() {
        output::list(Output::Table, &preview.steps, &["migration", "tenants", "transaction", "way back"], |step| {
            let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
            vec![step.migration.clone(), step.tenants.to_string(), yes(step.transactional), yes(step.reversible)]
        })?;
        print("")?;
        output::list(Output::Table, &preview.waves, &["wave", "tenants", "canaries"], |wave| {
            vec![wave.wave.clone(), wave.tenants.to_string(), wave.canaries.join(" ")]
        })?;
    }
    if let Some(run) = &preview.dry_run {
        print("")?;
        dry_run(run)?;
    }
    preview.notes.iter().for_each(|note| say(format!("note: {note}")));
    Ok(())
}

fn dry_run(run: &DryRun) -> Result<(), CliError> {
    print(&format!("tried on `{}`, and rolled back:", run.slug))?;
    for step in &run.steps {
        let end = if step.error.is_some() { "failed after" } else { "took" };
        print(&format!("  {} {end} {:.1} ms", step.migration, step.duration_ms))?;
        if let Some(error) = &step.error {
            print(&format!("    error    {error}"))?;
        }
        for lock in &step.locks {
            print(&format!("    lock     {} {}: blocks {}", lock.relation, lock.mode, lock.blocks))?;
        }
        for rewrite in &step.rewritten {
            let rows = if rewrite.rows < 0 { "an unknown number of".to_owned() } else { rewrite.rows.to_string() };
            print(&format!("    rewrites {} ({rows} rows)", rewrite.relation))?;
        }
        if !step.created.is_empty() {
            print(&format!("    creates  {}", step.created.join(", ")))?;
        }
        if let Some(note) = step.note {
            print(&format!("    note     {note}"))?;
        }
    }
    Ok(())
}
