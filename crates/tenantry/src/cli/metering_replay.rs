//! `tenantry metering replay`.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use metering::replay::{self, Columns, Plan, ReplayError, ReplayModel, ReplayTenant, Replayed, Trace};
use metering::{Metering, store};
use tenantry::Settings;
use tenantry_core::{Slug, SystemClock};
use tenantry_postgres::{Actor, MeterDb, NewTenant, ProvisionError};

use super::output::{self, print};
use super::progress::Bar;
use super::{CliError, Global, Output, say};

/// The plan of tenants that are made for a replay: it has no limits.
const PLAN: &str = "enterprise";

/// Arguments of `metering replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Slugs of tenants, separated by commas; or a number: so many tenants `replay-01`, `replay-02`, …, which are made where they are missing
    #[arg(long, value_name = "SLUGS|NUMBER", default_value = "20")]
    tenants: String,
    /// Models, each with its provider, separated by commas
    #[arg(
        long,
        value_name = "PROVIDER/MODEL",
        value_delimiter = ',',
        value_parser = model,
        default_value = "openai/gpt-4o,openai/gpt-4o-mini,anthropic/claude-sonnet-4-5,google/gemini-2.5-flash"
    )]
    models: Vec<ReplayModel>,
    /// Agents that each tenant's calls are of; they have ids, and are in no table
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    agents: u32,
    /// When the first call begins; unless given, so long ago that none is in the future
    #[arg(long, value_name = "TIME")]
    start: Option<DateTime<Utc>>,
    /// How much faster than it was; 0 is as fast as can be
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0)]
    speed: f64,
    /// Another number gives each line another tenant, model and agent
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Where calls are kept until the database has them; unless given, `replay` in the data directory
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// The column of the time; found by its name unless given
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// The column of the input's tokens
    #[arg(long, value_name = "NAME")]
    input_column: Option<String>,
    /// The column of the output's tokens
    #[arg(long, value_name = "NAME")]
    output_column: Option<String>,
}

fn model(text: &str) -> Result<ReplayModel, String> {
    match text.split_once('/') {
        Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
            Ok(ReplayModel { provider: provider.to_owned(), model: model.to_owned() })
        }
        _ => Err("expected a provider and a model, such as `openai/gpt-4o-mini`".to_owned()),
    }
}

pub(super) async fn run(args: ReplayArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let columns = Columns { time: args.time_column, input: args.input_column, output: args.output_column };
    let trace = Trace::read(&args.file, &columns)?;
    let database = global.database(settings)?;
    let slugs = match args.tenants.parse::<usize>() {
        Ok(number) => make(global, settings, number).await?,
        Err(_) => args.tenants.split(',').map(|slug| slug.trim().to_owned()).collect(),
    };
    let mut metering_settings = settings.metering.clone();
    metering_settings.spool_dir = Some(args.spool_dir.unwrap_or_else(|| global.data_dir.join("replay")));
    let metering = Metering::start(&database, &metering_settings, Arc::new(SystemClock))
        .map_err(|error| CliError::usage(error.to_string()))?;
    let tenants = tenants(&metering.db, &slugs).await?;
    let plan = Plan { seed: args.seed, tenants, models: args.models, agents: args.agents, start: args.start };
    let mut bar = Bar::new("calls", "recorded");
    let progress = |done, all| bar.draw(done, all);
    let replayed = replay::replay(&metering, &metering_settings, &trace, &plan, args.speed, progress).await?;
    bar.end();
    tell(global.output, &replayed)
}

/// Tenants for a replay, made where they are missing.
async fn make(global: &Global, settings: &Settings, number: usize) -> Result<Vec<String>, CliError> {
    let provisioner = global.provisioner(settings)?;
    let (mut slugs, mut made) = (Vec::with_capacity(number), 0_usize);
    for n in 1..=number {
        let slug: Slug = format!("replay-{n:02}").parse()?;
        match provisioner.show(slug.as_str()).await {
            Ok(_) => {}
            Err(ProvisionError::NotFound(_)) => {
                let new = NewTenant {
                    slug: slug.clone(),
                    admin_email: format!("replay@{slug}.invalid"),
                    plan_tier: PLAN.to_owned(),
                    allowed_domains: Vec::new(),
                    dedicated: false,
                };
                provisioner.create(&new, &Actor::system("replay")).await?;
                made += 1;
            }
            Err(error) => return Err(error.into()),
        }
        slugs.push(slug.to_string());
    }
    if made > 0 {
        say(format!("made {made} tenants `replay-…` on the plan `{PLAN}`"));
    }
    Ok(slugs)
}

/// In the order of their slugs as they are given: a plan's choices are by place.
async fn tenants(db: &MeterDb, slugs: &[String]) -> Result<Vec<ReplayTenant>, CliError> {
    let tx = db.begin().await?;
    let found = store::replay::tenants(&tx, slugs).await?;
    tx.commit().await?;
    slugs
        .iter()
        .map(|slug| {
            let (id, slug, zone) = found.iter().find(|(_, name, _)| name == slug).ok_or_else(|| {
                CliError::not_found(format!("there is no active tenant `{slug}`"))
                    .hint("`tenantry tenant list` shows all; `--tenants 20` makes some")
            })?;
            let zone = zone.parse().map_err(|_| CliError::failed(format!("`{zone}` is no time zone")))?;
            Ok(ReplayTenant { id: *id, slug: slug.clone(), zone })
        })
        .collect()
}

fn tell(output: Output, replayed: &Replayed) -> Result<(), CliError> {
    if output == Output::Json {
        output::json(replayed)?;
    } else {
        let columns = ["tenant", "provider", "model", "calls", "unpriced", "input", "output", "usd"];
        output::list(output, &replayed.totals, &columns, |total| {
            let (calls, unpriced) = (total.calls.to_string(), total.unpriced_calls.to_string());
            let (input, output) = (total.tokens_input.to_string(), total.tokens_output.to_string());
            let usd = total.cost_usd.normalize().to_string();
            vec![total.tenant.clone(), total.provider.clone(), total.model.clone(), calls, unpriced, input, output, usd]
        })?;
        let Replayed { start, end, calls, new, repeated, hours, seconds, .. } = replayed;
        let (start, end) = (output::time(*start), output::time(*end));
        print(&format!(
            "{calls} calls from {start} to {end}: {new} new, {repeated} were there; the sums of {hours} hours; {seconds:.1} s"
        ))?;
    }
    if replayed.rejected > 0 {
        return Err(CliError::failed(format!("the database refuses {} calls", replayed.rejected))
            .hint("they are in `rejected.jsonl` of the spool, each with the reason"));
    }
    if replayed.waiting > 0 {
        return Err(CliError::failed(format!("{} calls are not in the database yet", replayed.waiting))
            .hint("run the same command again: it ships them first"));
    }
    Ok(())
}

impl From<ReplayError> for CliError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Database(inner) => inner.into(),
            ReplayError::Spool(_) | ReplayError::Metering(_) => Self::failed(error.to_string()),
            ReplayError::NoColumn { .. } => Self::usage(error.to_string())
                .hint("name it with `--time-column`, `--input-column` or `--output-column`"),
            _ => Self::usage(error.to_string()),
        }
    }
}
