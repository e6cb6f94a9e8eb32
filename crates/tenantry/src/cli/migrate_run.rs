//! `tenantry migrate up` and `down`.

use std::time::Duration;

use clap::Args;
use tenantry::Settings;
use tenantry_postgres::Actor;
use tenantry_postgres::migrate::{Failure, Fleet, MigrateError, Options, Outcome, Report, Share, Window};

use super::migrate::SetArgs;
use super::migrate_progress::Progress;
use super::output::{self, optional};
use super::{CliError, Global, Output, Signals, say};

/// Failed tenants that a command for another try names.
const NAMED: usize = 10;

/// Arguments of `migrate up`.
#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Only up to this version
    #[arg(long, value_name = "VERSION")]
    to: Option<i32>,
    #[command(flatten)]
    run: RunArgs,
}

/// Arguments of `migrate down`.
#[derive(Debug, Args)]
pub(super) struct DownArgs {
    /// The version to go back to; each step on the way needs its `.down.sql`
    #[arg(long, value_name = "VERSION")]
    to: i32,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Only this tenant; may be repeated
    #[arg(long = "tenant", value_name = "SLUG")]
    tenants: Vec<String>,
    /// Not this tenant; may be repeated
    #[arg(long, value_name = "SLUG")]
    exclude: Vec<String>,
    /// Before all others, beside the registry's canaries; may be repeated. A canary's failure ends the run
    #[arg(long = "canary", value_name = "SLUG")]
    canaries: Vec<String>,
    /// How much of the fleet is done after each wave, in percent
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "1,10,100")]
    waves: Vec<Share>,
    /// End the run when so many tenants have failed
    #[arg(long, value_name = "N", default_value_t = 10)]
    stop_failures: u32,
    /// End the run when a larger share of the tenants tried has failed, in percent
    #[arg(long, value_name = "SHARE", default_value = "5")]
    stop_share: Share,
    /// Tenants at work at the same time; twice the cores, at most 8, unless given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// How long a step waits for a lock
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    lock_timeout: Duration,
    /// How long a statement may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    statement_timeout: Duration,
    /// How often a step is tried that another transaction is in the way of
    #[arg(long, value_name = "N", default_value_t = 5)]
    tries: u32,
    /// Work only within these hours in UTC, such as `22:00-04:00`; outside them the run pauses
    #[arg(long, value_name = "FROM-TO")]
    window: Option<Window>,
    /// At most so many tenants a second
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Print each event as a line of JSON; `--output json` does the same
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    fn options(&self) -> Options {
        let defaults = Options::new(Actor::cli());
        Options {
            tenants: self.tenants.clone(),
            exclude: self.exclude.clone(),
            canaries: self.canaries.clone(),
            waves: self.waves.clone(),
            stop_failures: self.stop_failures,
            stop_share: self.stop_share,
            jobs: self.jobs.unwrap_or(defaults.jobs),
            lock_timeout: self.lock_timeout,
            statement_timeout: self.statement_timeout,
            tries: self.tries,
            window: self.window,
            rate: self.rate,
            ..defaults
        }
    }
}

pub(super) async fn up(args: UpArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let fleet = Fleet::new(&global.database(settings)?, args.run.set.read()?);
    let options = Options { to: args.to, ..args.run.options() };
    let command = again("up", None, &args.run);
    let json = args.run.json || global.output == Output::Json;
    let progress = Progress::new(json);
    let report = until_interrupted(&options, fleet.up(&options, &progress.events())).await;
    progress.end();
    let whole = options.to.is_none() && options.tenants.is_empty() && args.run.set.dir.is_none();
    finish(report, json, &command)?;
    if whole {
        // They wait for tenants, and are of the fleet: a new tenant begins where the others are.
        let renewed = global.provisioner(settings)?.renew_warm().await?;
        if renewed.made + renewed.removed > 0 {
            say(format!("warm schemas: {} made anew, {} of an older version removed", renewed.made, renewed.removed));
        }
    }
    Ok(())
}

pub(super) async fn down(args: DownArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let fleet = Fleet::new(&global.database(settings)?, args.run.set.read()?);
    let options = args.run.options();
    let command = again("down", Some(args.to), &args.run);
    let json = args.run.json || global.output == Output::Json;
    let progress = Progress::new(json);
    let report = until_interrupted(&options, fleet.down(args.to, &options, &progress.events())).await;
    progress.end();
    let own = args.run.set.dir.is_none();
    finish(report, json, &command)?;
    if own {
        // A tenant that took one would be ahead of the others.
        let removed = global.provisioner(settings)?.reduce(0).await?;
        if removed > 0 {
            say(format!("warm schemas: {removed} removed"));
        }
    }
    Ok(())
}

/// The command that does what is left.
fn again(way: &str, to: Option<i32>, args: &RunArgs) -> String {
    let mut command = format!("tenantry migrate {way}");
    if let Some(to) = to {
        command.push_str(&format!(" --to {to}"));
    }
    if let Some(dir) = &args.set.dir {
        command.push_str(&format!(" --dir {}", word(&dir.to_string_lossy())));
    }
    command
}

/// One word for a shell, whatever is in it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The first signal ends the run after the tenants at work, a second one at once.
async fn until_interrupted(
    options: &Options,
    run: impl Future<Output = Result<Report, MigrateError>>,
) -> Result<Report, CliError> {
    let mut signals = Signals::catch()?;
    let mut run = Box::pin(run);
    tokio::select! {
        report = &mut run => return Ok(report?),
        () = signals.next() => {}
    }
    say("stopping: tenants at work are finished; once more ends at once, which is safe as well");
    options.stop.ask();
    tokio::select! {
        report = &mut run => Ok(report?),
        () = signals.next() => {
            Err(CliError::not_run("interrupted").hint("run it again: it does what is left"))
        }
    }
}

fn finish(report: Result<Report, CliError>, json: bool, command: &str) -> Result<(), CliError> {
    let report = report?;
    if !json {
        print(&report)?;
    }
    let Report { migrated, remaining, failed, .. } = &report;
    let tally = format!("{migrated} tenants migrated, {} failed, {remaining} not tried", failed.len());
    match &report.outcome {
        Outcome::Nothing | Outcome::Done => Ok(()),
        Outcome::Failed => {
            let problem = if *migrated > 0 { CliError::some_failed(tally) } else { CliError::not_run(tally) };
            Err(problem.hint(format!("when its cause is mended: `{}`", only(command, failed))))
        }
        Outcome::Stopped(reason) => {
            let problem = CliError::not_run(format!("stopped, because {reason}: {tally}"));
            Err(problem.hint(format!(
                "when its cause is mended: `{command}` does what is left, `{}` the failed ones",
                only(command, failed)
            )))
        }
        Outcome::Interrupted => {
            Err(CliError::not_run(format!("interrupted: {tally}")).hint(format!("`{command}` does what is left")))
        }
    }
}

/// The command for the failed tenants alone.
fn only(command: &str, failed: &[Failure]) -> String {
    if failed.is_empty() || failed.len() > NAMED {
        return command.to_owned();
    }
    let named: Vec<String> = failed.iter().map(|failure| format!(" --tenant {}", failure.slug)).collect();
    format!("{command}{}", named.concat())
}

fn print(report: &Report) -> Result<(), CliError> {
    if report.outcome == Outcome::Nothing {
        return output::print(&format!("nothing to do: every tenant is where version {} wants it", report.target));
    }
    let columns = ["failed", "at", "migration", "sqlstate", "tries", "error"];
    if !report.failed.is_empty() {
        output::list(Output::Table, &report.failed, &columns, |failure| {
            vec![
                failure.slug.clone(),
                failure.at.to_string(),
                failure.migration.clone(),
                optional(failure.sqlstate.clone()),
                failure.attempts.to_string(),
                failure.error.clone(),
            ]
        })?;
    }
    let seconds = Duration::from_millis(report.duration_ms).as_secs_f64();
    output::print(&format!(
        "run {}: {} tenants at version {} in {seconds:.1} s",
        optional(report.run),
        report.migrated,
        report.target
    ))
}

/// `500ms`, `2s`, `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time: such as `500ms`, `2s` or `5m`");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(wrong()),
    };
    // The server keeps milliseconds in 32 bits, and takes 0 for no limit at all.
    if time.is_zero() || time > Duration::from_secs(24 * 3600) { Err(wrong()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_word_of_the_command() {
        assert_eq!(word("my/migrations"), "my/migrations");
        assert_eq!(word("it's mine"), r"'it'\''s mine'");
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "5", "s", "0s", "-1s", "1h", "99999m", "é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
