//! What a run shows while it works: one line that changes on a terminal, a line now and then elsewhere, events for programs.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tenantry_postgres::migrate::{Event, Events};

use super::output::{print, time};
use super::say;

const REDRAW: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(10);
const BAR: usize = 24;
/// Retries and failures told one by one; the rest is counted.
const TOLD: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct Progress {
    json: bool,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Shown {
    terminal: bool,
    begun: Instant,
    drawn: Option<Instant>,
    dirty: bool,
    wave: String,
    total: usize,
    done: usize,
    failed: usize,
    told: usize,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let shown = Shown {
            terminal: std::io::stderr().is_terminal(),
            begun: Instant::now(),
            drawn: None,
            dirty: false,
            wave: String::new(),
            total: 0,
            done: 0,
            failed: 0,
            told: 0,
        };
        Self { json, shown: Arc::new(Mutex::new(shown)) }
    }

    pub(super) fn events(&self) -> Events {
        let progress = self.clone();
        Events::to(move |event| {
            if progress.json {
                // A reader that has gone away does not end the run.
                let _ = serde_json::to_string(&event).map(|line| print(&line));
            } else {
                progress.shown.lock().unwrap_or_else(PoisonError::into_inner).take(event);
            }
        })
    }

    /// Leaves the line, so that what comes next has its own.
    pub(super) fn end(&self) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).leave();
    }
}

impl Shown {
    fn take(&mut self, event: Event) {
        match event {
            Event::Applied { scope, migration } => self.tell(&format!("applied {scope} {migration}")),
            Event::Started { run, direction, target, tenants } => {
                (self.begun, self.total) = (Instant::now(), tenants);
                self.tell(&format!("run {run}: {direction} to version {target}, {tenants} tenants"));
            }
            Event::Wave { number, name, tenants } => {
                self.wave.clone_from(&name);
                self.tell(&format!("wave {number} ({name}): {tenants} tenants"));
            }
            Event::Migrated { .. } => {
                self.done += 1;
                self.draw(false);
            }
            Event::Skipped { slug, reason } => {
                self.done += 1;
                self.tell_some(&format!("`{slug}` is left out: {reason}"));
            }
            Event::Retry { slug, attempt, error, wait_ms, .. } => {
                self.tell_some(&format!("`{slug}`: try {attempt}: {error}; again in {wait_ms} ms"));
            }
            Event::Failed(failure) => {
                self.done += 1;
                self.failed += 1;
                self.tell_some(&format!("`{}` failed at {}: {}", failure.slug, failure.migration, failure.error));
            }
            Event::Paused { until } => self.tell(&format!("outside the window: paused until {}", time(until))),
            Event::Resumed => self.tell("the window is open"),
            Event::Finished(_) => self.draw(true),
        }
    }

    fn tell_some(&mut self, text: &str) {
        self.told += 1;
        match self.told.cmp(&TOLD) {
            std::cmp::Ordering::Less => self.tell(text),
            std::cmp::Ordering::Equal => self.tell(&format!("{text}\nfurther ones are counted only")),
            std::cmp::Ordering::Greater => self.draw(false),
        }
    }

    fn tell(&mut self, text: &str) {
        self.leave();
        say(text);
        if self.terminal && self.total > 0 {
            self.draw(true);
        }
    }

    fn draw(&mut self, now: bool) {
        let due = if self.terminal { REDRAW } else { LINE };
        if self.total == 0 || !(now || self.drawn.unwrap_or(self.begun).elapsed() >= due) {
            return;
        }
        self.drawn = Some(Instant::now());
        let line = self.line();
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
            let _ = std::io::stderr().flush();
            self.dirty = true;
        } else {
            say(line);
        }
    }

    fn line(&self) -> String {
        let Self { total, done, failed, wave, .. } = self;
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = f64::from(u32::try_from(*done).unwrap_or(u32::MAX)) / seconds.max(0.001);
        let left = f64::from(u32::try_from(total.saturating_sub(*done)).unwrap_or(u32::MAX));
        let eta = if *done == 0 { "?".to_owned() } else { format!("{:.0} s", left / rate) };
        let failures = if *failed == 0 { String::new() } else { format!(", {failed} failed") };
        let share = (100 * done).checked_div(*total).unwrap_or(100);
        let full = (BAR * done).checked_div(*total).unwrap_or(BAR).min(BAR);
        let bar =
            if self.terminal { format!("[{}{}] ", "#".repeat(full), "-".repeat(BAR - full)) } else { String::new() };
        format!("{bar}{done}/{total} ({share} %){failures}, {rate:.0} tenants/s, {eta} left, wave {wave}")
    }

    fn leave(&mut self) {
        if self.dirty {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.dirty = false;
        }
    }
}
