use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use crate::registry::Actor;

/// How a run goes about it. [`Options::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who runs it.
    pub actor: Actor,
    /// Up to this version only; the latest unless set.
    pub to: Option<i32>,
    /// Only these tenants, by slug; all when empty.
    pub tenants: Vec<String>,
    /// Not these tenants.
    pub exclude: Vec<String>,
    /// Before all others, beside those that the registry marks as canaries.
    pub canaries: Vec<String>,
    /// How much of the fleet is done at the end of each wave. Default: 1 %, 10 %, 100 %.
    pub waves: Vec<Share>,
    /// Stop at so many failed tenants. Default: 10.
    pub stop_failures: u32,
    /// Stop when more than this share of the tenants tried has failed. Default: 5 %.
    pub stop_share: Share,
    /// Tenants at work at the same time. Default: twice the cores, at most 8.
    pub jobs: usize,
    /// How long a step waits for a lock, kept by the server. Default: 2 s.
    pub lock_timeout: Duration,
    /// How long a statement may take, kept by the server. Default: 60 s.
    pub statement_timeout: Duration,
    /// How often a step is tried that another transaction is in the way of. Default: 5.
    pub tries: u32,
    /// How long a database that went away is waited for. Default: 3 minutes.
    pub patience: Duration,
    /// Work only within these hours.
    pub window: Option<Window>,
    /// At most so many tenants a second.
    pub rate: Option<u32>,
    /// Ends the run in good order.
    pub stop: Stop,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new(actor: Actor) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            actor,
            to: None,
            tenants: Vec::new(),
            exclude: Vec::new(),
            canaries: Vec::new(),
            waves: vec![Share::percent(1), Share::percent(10), Share::percent(100)],
            stop_failures: 10,
            stop_share: Share::percent(5),
            jobs: (2 * cores).min(8),
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(60),
            tries: 5,
            patience: Duration::from_secs(180),
            window: None,
            rate: None,
            stop: Stop::default(),
        }
    }

    /// What the ledger keeps of it.
    pub(super) fn settings(&self) -> serde_json::Value {
        let shares: Vec<String> = self.waves.iter().map(Share::to_string).collect();
        serde_json::json!({
            "tenants": self.tenants, "exclude": self.exclude, "canaries": self.canaries, "waves": shares,
            "stop_failures": self.stop_failures, "stop_share": self.stop_share.to_string(), "jobs": self.jobs,
            "lock_timeout_ms": millis(self.lock_timeout), "statement_timeout_ms": millis(self.statement_timeout),
            "tries": self.tries, "window": self.window.map(|window| window.to_string()), "rate": self.rate,
        })
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A part of a whole, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// A whole number of percents, at most 100.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(if percent > 100 { 10_000 } else { percent * 100 })
    }

    /// So much of `whole`, rounded up.
    pub(super) fn of(self, whole: usize) -> usize {
        let share = usize::try_from(self.0).unwrap_or(10_000);
        (whole * share).div_ceil(10_000)
    }

    /// Whether `part` is more than this share of `whole`.
    pub(super) fn is_exceeded(self, part: usize, whole: usize) -> bool {
        part * 10_000 > whole * usize::try_from(self.0).unwrap_or(10_000)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{} %", self.0 / 100),
            rest => write!(f, "{}.{rest:02} %", self.0 / 100),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a share: from `0` to `100` percent, such as `1` or `0.5`");
        let number = text.trim().trim_end_matches('%').trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if part.len() > 2 || !part.bytes().chain(whole.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let part: u32 = format!("{part:0<2}").parse().map_err(|_| wrong())?;
        let share = whole.saturating_mul(100).saturating_add(part);
        if share > 10_000 { Err(wrong()) } else { Ok(Self(share)) }
    }
}

/// Hours of the day, in UTC, in which a run may work. It may go past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    from: NaiveTime,
    to: NaiveTime,
}

impl Window {
    /// How long it is until it opens; `None` when it is open.
    pub(super) fn opens_in(&self, now: DateTime<Utc>) -> Option<Duration> {
        let time = now.time();
        let open = if self.from < self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        };
        if open {
            return None;
        }
        // Whatever is closed now opens at `from`, today or tomorrow.
        let wait = (self.from - time).to_std().or_else(|_| (self.from - time + chrono::TimeDelta::days(1)).to_std());
        Some(wait.unwrap_or_default())
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a window: such as `22:00-04:00`, in UTC");
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").map_err(|_| wrong());
        let window = Self { from: time(from)?, to: time(to)? };
        if window.from == window.to { Err(wrong()) } else { Ok(window) }
    }
}

/// Ends a run in good order: tenants at work are finished, no other is begun. Clones share it.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks for the end.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the end is asked for. Cancel safe.
    pub(super) async fn asked(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    #[test]
    fn shares_are_read_and_rounded_up() {
        let share = |text: &str| text.parse::<Share>();
        assert_eq!(share("1").unwrap(), Share::percent(1));
        assert_eq!(share("0.5%").unwrap().to_string(), "0.50 %");
        assert_eq!(
            (share("1").unwrap().of(60), share("100 %").unwrap().of(60), share("0").unwrap().of(60)),
            (1, 60, 0)
        );
        for wrong in ["", "x", "101", "-1", "1.234", "1.x", "%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert!(Share::percent(5).is_exceeded(6, 100) && !Share::percent(5).is_exceeded(5, 100));
    }

    #[test]
    fn windows_open_and_close_also_past_midnight() {
        let at = |hour, minute| Utc.with_ymd_and_hms(2026, 5, 4, hour, minute, 0).unwrap();
        let night: Window = "22:00-04:00".parse().unwrap();
        assert_eq!(night.opens_in(at(23, 0)), None);
        assert_eq!(night.opens_in(at(3, 59)), None);
        assert_eq!(night.opens_in(at(4, 0)), Some(Duration::from_secs(18 * 3600)));
        let noon: Window = "12:00-13:00".parse().unwrap();
        assert_eq!(noon.opens_in(at(12, 30)), None);
        assert_eq!(noon.opens_in(at(13, 0)), Some(Duration::from_secs(23 * 3600)));
        for wrong in ["22:00", "22-04", "25:00-04:00", "01:00-01:00"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
