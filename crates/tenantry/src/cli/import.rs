//! `tenantry tenant import`.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry_postgres::{Actor, DbError, NewKey, ProvisionError, Provisioner, TenantFilter, TenantRow};
use tokio::task::JoinSet;

use super::import_file::{self, Wanted};
use super::import_report::{Report, Step};
use super::tenant_args::ImportArgs;
use super::{CliError, Output, Signals, output, say, tenant};

/// How often a creation is tried that lost against another one's locks.
const TRIES: u32 = 4;
/// Mistakes of the file that are shown.
const SHOWN: usize = 50;

/// How many came to which end.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    created: usize,
    new_keys: usize,
    skipped: usize,
    exist: usize,
    failed: usize,
}

impl Counts {
    const fn good(&self) -> usize {
        self.created + self.new_keys + self.skipped + self.exist
    }
}

/// What a line of the file needs.
enum Todo {
    /// Its tenant is to be made.
    Create,
    /// It was made, but its key was lost.
    Key,
}

struct Shared {
    provisioner: Provisioner,
    actor: Actor,
    report: Mutex<Report>,
    counts: Mutex<Counts>,
}

pub(super) async fn run(
    args: ImportArgs,
    output: Output,
    provisioner: &Provisioner,
    actor: &Actor,
) -> Result<(), CliError> {
    let wanted = match import_file::read(&args.file, &provisioner.plans().await?)? {
        Ok(wanted) => wanted,
        Err(mistakes) => {
            for (line, text) in mistakes.iter().take(SHOWN) {
                say(format!("{}:{line}: {text}", args.file.display()));
            }
            let message = format!("{} mistakes in `{}`; nothing was made", mistakes.len(), args.file.display());
            return Err(CliError::usage(message));
        }
    };
    if args.check {
        say(format!("{} tenants, no mistakes", wanted.len()));
        return Ok(());
    }
    let mut signals = Signals::catch()?;
    let all = tenant::all(provisioner, &mut TenantFilter::default(), None).await?;
    let existing: HashMap<String, TenantRow> = all.into_iter().map(|row| (row.slug.to_string(), row)).collect();
    let path = Report::path_for(&args.file);
    let shared = Arc::new(Shared {
        provisioner: provisioner.clone().with_connections(args.jobs.into()),
        actor: actor.clone(),
        report: Mutex::new(Report::open(path.clone())?),
        counts: Mutex::default(),
    });
    let total = wanted.len();
    let todo = sort(wanted, &existing, &shared)?;
    let mut progress = Progress::new(todo.len());
    let mut running: JoinSet<Result<(), CliError>> = JoinSet::new();
    let mut todo = todo.into_iter();
    let mut stopped = None;
    loop {
        while stopped.is_none() && running.len() < usize::from(args.jobs) {
            let Some((wanted, todo)) = todo.next() else { break };
            let shared = Arc::clone(&shared);
            running.spawn(async move { shared.one(&wanted, &todo).await });
        }
        if running.is_empty() {
            break;
        }
        tokio::select! {
            Some(ended) = running.join_next() => {
                let ended = ended.map_err(|error| CliError::failed(error.to_string())).and_then(|result| result);
                if let Err(error) = ended {
                    stopped.get_or_insert(Some(error));
                } else {
                    progress.step(shared.counts().failed);
                }
            }
            () = signals.received(), if stopped.is_none() => stopped = Some(None),
        }
    }
    progress.end();
    let counts = shared.counts();
    tell(output, &counts, total, &path.display().to_string())?;
    let again = "run the same command again to go on: what is done is skipped";
    match stopped {
        Some(Some(error)) => Err(error.hint(again)),
        Some(None) => Err(not_all(counts.good(), "stopped before the end").hint(again)),
        None if counts.failed > 0 => {
            let message = format!("{} of {total} tenants were not made", counts.failed);
            Err(not_all(counts.good(), message).hint(format!("`{}` says why; {again}", path.display())))
        }
        None => Ok(()),
    }
}

/// What is still to be done, by what an earlier run reported and by what is there.
fn sort(
    wanted: Vec<Wanted>,
    existing: &HashMap<String, TenantRow>,
    shared: &Shared,
) -> Result<Vec<(Wanted, Todo)>, CliError> {
    let mut report = shared.report.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut todo = Vec::new();
    for wanted in wanted {
        let slug = wanted.new.slug.as_str();
        let step = report.steps.get(slug).copied();
        let Some(row) = existing.get(slug) else {
            todo.push((wanted, Todo::Create));
            continue;
        };
        let same = row.admin_email == wanted.new.admin_email && row.plan_tier == wanted.new.plan_tier;
        match step {
            Some(Step::Created) => counts.skipped += 1,
            // It was not there when it was begun.
            Some(Step::Started) if same => todo.push((wanted, Todo::Key)),
            _ if same => {
                counts.exist += 1;
                if step != Some(Step::Exists) {
                    report.write(slug, Step::Exists, &row.id.to_string(), "", "it was there before")?;
                }
            }
            _ => {
                counts.failed += 1;
                let note = format!("exists with e-mail `{}` and plan `{}`", row.admin_email, row.plan_tier);
                report.write(slug, Step::Failed, &row.id.to_string(), "", &note)?;
            }
        }
    }
    Ok(todo)
}

impl Shared {
    fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, slug: &str, step: Step, id: &str, key: &str, note: &str) -> Result<(), CliError> {
        // The disk is waited for here, a moment each: creations wait for it as well.
        self.report.lock().unwrap_or_else(PoisonError::into_inner).write(slug, step, id, key, note)
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Brings one tenant about. An error ends the import; what is wrong with this tenant alone is reported.
    async fn one(&self, wanted: &Wanted, todo: &Todo) -> Result<(), CliError> {
        let slug = wanted.new.slug.as_str();
        let result = match todo {
            Todo::Create => {
                self.write(slug, Step::Started, "", "", "")?;
                let created = self.create(wanted).await;
                created.map(|made| (made.tenant.id.to_string(), made.key.token, ""))
            }
            Todo::Key => {
                let made = self.provisioner.create_key(slug, &NewKey::named("import"), &self.actor).await;
                let note = "made by an earlier run that was cut off; this key is a new one";
                match made {
                    Ok(key) => self.provisioner.show(slug).await.map(|row| (row.id.to_string(), key.token, note)),
                    Err(error) => Err(error),
                }
            }
        };
        match result {
            Ok((id, token, note)) => {
                self.write(slug, Step::Created, &id, token.expose_secret(), note)?;
                self.count(|counts| match todo {
                    Todo::Create => counts.created += 1,
                    Todo::Key => counts.new_keys += 1,
                });
            }
            // Whether this one was made is open, and the next ones would fail as well.
            Err(error @ ProvisionError::Database(DbError::Unavailable(_))) => return Err(error.into()),
            Err(error) => {
                self.write(slug, Step::Failed, "", "", &error.to_string())?;
                self.count(|counts| counts.failed += 1);
            }
        }
        Ok(())
    }

    async fn create(&self, wanted: &Wanted) -> Result<tenantry_postgres::CreatedTenant, ProvisionError> {
        let mut tried = 1;
        loop {
            match self.provisioner.create_with(&wanted.new, wanted.limits, &self.actor).await {
                Err(ProvisionError::Database(DbError::LockTimeout(_) | DbError::Exhausted { .. })) if tried < TRIES => {
                    tokio::time::sleep(Duration::from_millis(200) * tried).await;
                    tried += 1;
                }
                done => return done,
            }
        }
    }
}

fn not_all(good: usize, message: impl Into<String>) -> CliError {
    if good > 0 { CliError::some_failed(message) } else { CliError::not_run(message) }
}

fn tell(output: Output, counts: &Counts, total: usize, report: &str) -> Result<(), CliError> {
    let value = json!({
        "tenants": total, "created": counts.created, "new_keys": counts.new_keys, "done_before": counts.skipped,
        "existed": counts.exist, "failed": counts.failed, "report": report,
    });
    let lines = [
        ("tenants", total.to_string()),
        ("created", counts.created.to_string()),
        ("created before, new key", counts.new_keys.to_string()),
        ("done by an earlier run", counts.skipped.to_string()),
        ("existed before", counts.exist.to_string()),
        ("failed", counts.failed.to_string()),
        ("report, with the keys", report.to_owned()),
    ];
    output::record(output, &value, &lines)
}

/// How far it is, for people: a line that is written over at a terminal, and else one now and then.
struct Progress {
    total: usize,
    done: usize,
    began: Instant,
    shown: Instant,
    terminal: bool,
}

impl Progress {
    fn new(total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { total, done: 0, began: Instant::now(), shown: Instant::now(), terminal }
    }

    fn step(&mut self, failed: usize) {
        self.done += 1;
        let every = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(5) };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let rate = self.done as f64 / self.began.elapsed().as_secs_f64();
        let left = Duration::from_secs_f64((self.total - self.done) as f64 / rate.max(f64::MIN_POSITIVE));
        let text = format!("{} of {} ({rate:.0}/s, {} s left, {failed} failed)", self.done, self.total, left.as_secs());
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
        } else {
            say(text);
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
