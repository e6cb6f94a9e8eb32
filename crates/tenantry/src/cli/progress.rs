//! How far a run is: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::say;

const REDRAW: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(5);
const WIDTH: usize = 24;

/// Draws how much of something is done.
pub(super) struct Bar {
    what: &'static str,
    doing: &'static str,
    terminal: bool,
    begun: Instant,
    drawn: Instant,
    dirty: bool,
}

impl Bar {
    /// `draw` says "3/20 (15 %) `what` `doing`".
    pub(super) fn new(what: &'static str, doing: &'static str) -> Self {
        let now = Instant::now();
        Self { what, doing, terminal: std::io::stderr().is_terminal(), begun: now, drawn: now, dirty: false }
    }

    pub(super) fn draw(&mut self, done: usize, all: usize) {
        let share = (100 * done).checked_div(all).unwrap_or(100);
        let full = (WIDTH * done).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
        let bar = format!("[{}{}] ", "#".repeat(full), "-".repeat(WIDTH - full));
        let bar = if self.terminal { bar } else { String::new() };
        let seconds = self.begun.elapsed().as_secs();
        self.say(format!("{bar}{done}/{all} ({share} %) {} {}, {seconds} s", self.what, self.doing));
    }

    /// Says it, when it is time to.
    pub(super) fn say(&mut self, text: String) {
        if self.drawn.elapsed() < if self.terminal { REDRAW } else { LINE } {
            return;
        }
        self.drawn = Instant::now();
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
            self.dirty = true;
        } else {
            say(text);
        }
    }

    /// Leaves the line, so that what comes next has its own.
    pub(super) fn end(&mut self) {
        if self.dirty {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.dirty = false;
        }
    }
}
