//! Runs of the agents of both companies, and what they logged.

use super::{DAY, HOUR};
use crate::session::SessionStatus;

/// A session of the sample. `agent` and `task` are places in the lists; times are minutes.
#[derive(Debug)]
pub(crate) struct SampleSession {
    pub(crate) agent: usize,
    pub(crate) task: Option<usize>,
    pub(crate) age_minutes: i32,
    pub(crate) status: SessionStatus,
    /// Tokens in and out.
    pub(crate) tokens: (i64, i64),
    /// Tools called, with milliseconds.
    pub(crate) calls: &'static [(&'static str, i64)],
}

/// An entry of the sample's activity log.
#[derive(Debug)]
pub(crate) struct SampleActivity {
    pub(crate) agent: usize,
    pub(crate) task: Option<usize>,
    pub(crate) action: &'static str,
    pub(crate) note: &'static str,
    pub(crate) age_minutes: i32,
}

const fn session(
    agent: usize,
    task: usize,
    age_minutes: i32,
    status: SessionStatus,
    tokens: (i64, i64),
    calls: &'static [(&'static str, i64)],
) -> SampleSession {
    SampleSession { agent, task: Some(task), age_minutes, status, tokens, calls }
}

const fn entry(
    agent: usize,
    task: usize,
    action: &'static str,
    note: &'static str,
    age_minutes: i32,
) -> SampleActivity {
    SampleActivity { agent, task: Some(task), action, note, age_minutes }
}

pub(super) const ACME_SESSIONS: &[SampleSession] = &[
    session(0, 0, 90, SessionStatus::Active, (41_300, 6_120), &[("helpdesk", 180), ("orders", 41), ("helpdesk", 166)]),
    session(1, 1, 4 * HOUR, SessionStatus::Active, (18_900, 2_240), &[("warehouse", 920)]),
    session(2, 3, 2 * DAY, SessionStatus::Ended, (9_480, 3_310), &[("catalogue", 75), ("catalogue", 81)]),
    session(0, 5, 3 * DAY, SessionStatus::Ended, (88_020, 1_930), &[("helpdesk", 2_410)]),
    session(4, 6, DAY, SessionStatus::Failed, (12_700, 0), &[("orders", 55)]),
    session(3, 8, 5 * DAY, SessionStatus::Ended, (30_150, 4_480), &[("catalogue", 310)]),
];

pub(super) const ACME_ACTIVITY: &[SampleActivity] = &[
    entry(0, 0, "ticket.answered", "4711: offered the free footprint, customer takes it", 70),
    entry(0, 0, "ticket.answered", "4718: refunded 289.00 USD", 58),
    entry(0, 0, "draft.written", "4722: waits for approval", 50),
    entry(1, 1, "history.loaded", "156 weeks, 3 warehouses", 3 * HOUR),
    entry(3, 2, "access.requested", "two sites ask for a login", 20 * HOUR),
    entry(2, 3, "page.published", "Fernweh 38, English and German", 36 * HOUR),
    entry(4, 6, "provider.overloaded", "third refusal in a row, gave up", DAY),
    SampleActivity {
        agent: 1,
        task: None,
        action: "warehouse.checked",
        note: "nothing below its minimum",
        age_minutes: 9 * HOUR,
    },
];

pub(super) const GLOBEX_SESSIONS: &[SampleSession] = &[
    session(0, 0, 60, SessionStatus::Active, (22_600, 3_050), &[("terminal_portal", 640), ("fleet", 38)]),
    session(2, 2, 3 * HOUR, SessionStatus::Active, (131_400, 8_870), &[("erp", 210), ("archive", 95), ("erp", 188)]),
    session(1, 6, 2 * DAY, SessionStatus::Failed, (54_800, 410), &[("archive", 1_120)]),
    session(3, 3, 20 * HOUR, SessionStatus::Ended, (16_050, 2_600), &[("sanction_lists", 470)]),
    session(4, 9, 11 * HOUR, SessionStatus::Ended, (7_900, 1_180), &[("tracking", 330), ("mail", 120)]),
];

pub(super) const GLOBEX_ACTIVITY: &[SampleActivity] = &[
    entry(0, 0, "slot.booked", "reefer HH-GX 214, gate 1, 09:20", 55),
    entry(0, 0, "slot.booked", "reefer HH-GX 198, gate 1, 09:40", 52),
    entry(1, 1, "broker.asked", "8413 70 or 8413 81, both with reasons", 4 * HOUR),
    entry(2, 2, "invoice.differs", "carrier 77: 1,204.00 instead of 1,180.00 euros", 2 * HOUR),
    entry(3, 3, "party.held", "one possible match, shipment stopped", 19 * HOUR),
    entry(4, 9, "digest.sent", "9 containers, 6 customers", 10 * HOUR),
    SampleActivity {
        agent: 4,
        task: None,
        action: "tracking.polled",
        note: "211 containers, 4 without a signal",
        age_minutes: 15,
    },
];
