//! `tenantry prices …`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use metering::prices::{Catalogue, LoadError, LoadRequest, Loaded, Moment, PriceEntry, PriceFilter, PriceView, Prices};
use tenantry::Settings;
use tenantry_core::{Clock as _, SystemClock};
use tenantry_postgres::{Actor, MeterDb};

use super::output::{self, optional, time};
use super::{CliError, Global, Output, say};

/// What to do with prices.
#[derive(Debug, Subcommand)]
pub(super) enum PricesCommand {
    /// Show the catalogue that counts: the one in the program under the one that was loaded
    List {
        /// Only of this provider
        #[arg(long)]
        provider: Option<String>,
        /// Only of models with a name that begins so
        #[arg(long)]
        model: Option<String>,
        /// The prices of this day (UTC) or moment, instead of now
        #[arg(long, value_name = "DAY|MOMENT")]
        at: Option<Moment>,
        /// Do not ask a database: the catalogue in the program alone
        #[arg(long)]
        program: bool,
    },
    /// Show all prices that a model has had and will have
    Show {
        /// The provider
        provider: String,
        /// The model, by any of its names
        model: String,
        /// Do not ask a database: the catalogue in the program alone
        #[arg(long)]
        program: bool,
    },
    /// Say what is wrong with a catalogue file, line by line; needs no database
    Check {
        /// The file
        file: PathBuf,
    },
    /// Load a catalogue over the one in the program, in the place of the one that was loaded before; servers know after two seconds
    Load {
        /// The file
        file: PathBuf,
        /// Only tell what it would change, and what the calls of the last thirty days would cost
        #[arg(long)]
        dry_run: bool,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
    },
}

pub(super) async fn run(command: PricesCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    match command {
        PricesCommand::List { provider, model, at, program } => {
            let prices = prices(global, settings, program).await?;
            let at = at.map_or_else(|| SystemClock.now(), |at| at.0);
            list(global.output, &prices.list(&PriceFilter { provider, model }, at))
        }
        PricesCommand::Show { provider, model, program } => {
            let history = prices(global, settings, program).await?.history(&provider, &model);
            if history.is_empty() {
                return Err(CliError::not_found(format!("`{provider}/{model}` has no price"))
                    .hint("`tenantry prices list` shows all; load a catalogue that has it"));
            }
            list(global.output, &history)
        }
        PricesCommand::Check { file } => {
            let catalogue = Catalogue::parse(&read(&file)?).map_err(LoadError::Invalid)?;
            say(format!("`{}` is valid: {} models", file.display(), catalogue.models()));
            Ok(())
        }
        PricesCommand::Load { file, dry_run, note } => {
            let request = LoadRequest { text: read(&file)?, note, dry_run };
            let db = MeterDb::new(&global.database(settings)?, 2);
            let loaded = Prices::default().load(&db, &request, &Actor::cli(), SystemClock.now()).await?;
            tell(global.output, &loaded)
        }
    }
}

async fn prices(global: &Global, settings: &Settings, program: bool) -> Result<Prices, CliError> {
    let prices = Prices::default();
    if !program {
        prices.refresh(&MeterDb::new(&global.database(settings)?, 1)).await?;
    }
    Ok(prices)
}

fn read(file: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(file)
        .map_err(|error| CliError::usage(format!("cannot read the catalogue `{}`: {error}", file.display())))
}

fn list(format: Output, views: &[PriceView]) -> Result<(), CliError> {
    let columns = ["provider", "model", "class", "from", "to", "input", "cache read", "cache write", "output", "also"];
    output::list(format, views, &columns, |view| {
        let price = &view.price;
        vec![
            view.provider.clone(),
            view.model.clone(),
            optional(view.class.as_ref()),
            time(view.valid_from),
            optional(view.valid_to.map(time)),
            optional(price.input),
            optional(price.cache_read),
            optional(price.cache_write),
            optional(price.output),
            also(price),
        ]
    })
}

/// What a price has beside its plain rates, in words.
fn also(price: &PriceEntry) -> String {
    let mut parts: Vec<String> = price.batch.iter().map(|_| "batch".to_owned()).collect();
    parts.extend(price.tiers.keys().cloned());
    parts.extend(price.multipliers.iter().map(|(name, factor)| format!("{name} ×{factor}")));
    parts.extend(price.context.iter().map(|context| match (context.above, context.at_least) {
        (Some(above), _) => format!(">{above}"),
        (None, at_least) => format!("≥{}", at_least.unwrap_or_default()),
    }));
    parts.extend(price.units.iter().map(|(name, each)| format!("{name} {each}")));
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

fn tell(format: Output, loaded: &Loaded) -> Result<(), CliError> {
    if format == Output::Json {
        return output::json(loaded);
    }
    let mut lines = Vec::new();
    for difference in &loaded.differences {
        lines.push(format!("{} {}/{}", difference.change, difference.provider, difference.model));
        for member in &difference.members {
            let (before, after) = (optional(member.before.as_ref()), optional(member.after.as_ref()));
            lines.push(format!("    {}: {before} -> {after}", member.name));
        }
    }
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    output::print(&lines.join("\n"))?;
    let effect = &loaded.effect;
    let latest = if effect.truncated { "the latest " } else { "" };
    say(format!("{latest}{} calls of the last thirty days were looked at", effect.calls));
    for model in &effect.models {
        say(format!(
            "    {}/{}: {} calls would cost {} USD instead of {} USD; {} would get a price, {} lose theirs",
            model.provider,
            model.model,
            model.calls,
            model.after_usd.normalize(),
            model.before_usd.normalize(),
            model.newly_priced,
            model.newly_unpriced
        ));
    }
    say(match loaded.id {
        Some(id) => format!("loaded as catalogue {id}, digest {}", loaded.digest),
        None => "not loaded: this was a dry run".to_owned(),
    });
    Ok(())
}
