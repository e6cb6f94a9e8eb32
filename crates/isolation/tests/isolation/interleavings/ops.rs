//! What random clients do.

use proptest::collection::vec;
use proptest::prelude::*;

/// One random run: several clients at once, over few connections.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) cell_connections: usize,
    pub(super) max_connections: usize,
    pub(super) tenants: usize,
    pub(super) clients: Vec<Vec<Op>>,
}

impl Case {
    /// Whether sessions are ended under their users.
    pub(super) fn disconnects(&self) -> bool {
        self.clients.iter().flatten().any(|op| matches!(op, Op::Disconnect { .. }))
    }

    /// Leaves out the ends of sessions where requests are cancelled as well. PgBouncer before 1.21 may end with `server in
    /// bad state` when a session dies while it is being cancelled (pgbouncer issue 822), whoever its client is.
    pub(super) fn spare_the_pooler(&mut self) {
        if self.cancels() {
            for ops in &mut self.clients {
                ops.retain(|op| !matches!(op, Op::Disconnect { .. }));
            }
        }
    }

    /// Whether requests are cancelled.
    pub(super) fn cancels(&self) -> bool {
        self.clients.iter().flatten().any(|op| matches!(op, Op::Request { polls: Some(_), .. }))
    }
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A tenant's request, dropped after so many polls where a number is given.
    Request { tenant: usize, request: Request, polls: Option<usize> },
    /// An operator's change of the fleet.
    Change { tenant: usize, change: Change },
    /// A key is made, used, revoked and refused.
    RevokeKey { tenant: usize },
    /// A backend is terminated.
    Disconnect { which: i64 },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Request {
    Read(Kind),
    WriteSingle,
    Write {
        rows: i32,
        end: End,
    },
    /// Rows, then a statement that fails.
    Fail,
    /// Unvetted SQL that leaves something in the session.
    Residue(usize),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Single,
    Several,
    ReadOnly,
    Snapshot,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Commit,
    Rollback,
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Suspend,
    Resume,
    Delete,
    Restore,
    Purge,
}

/// What is left behind in a session. Some are refused; then nothing is left.
pub(super) const RESIDUE: &[&str] = &[
    "SET search_path = public",
    "SET lock_timeout = 1",
    "RESET ROLE",
    "SET ROLE NONE",
    "CREATE TEMP TABLE marks (mark text, batch text, number integer)",
    "DECLARE left_open CURSOR WITH HOLD FOR SELECT 1",
    "PREPARE left_prepared AS SELECT 1",
    "LISTEN left_listening",
    "SET default_transaction_read_only = on",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET SESSION AUTHORIZATION DEFAULT",
    "DEALLOCATE ALL",
    "COMMIT",
];

fn request() -> impl Strategy<Value = Request> {
    let kind = prop_oneof![Just(Kind::Single), Just(Kind::Several), Just(Kind::ReadOnly), Just(Kind::Snapshot)];
    let end = prop_oneof![3 => Just(End::Commit), 1 => Just(End::Rollback), 1 => Just(End::Drop)];
    prop_oneof![
        4 => kind.prop_map(Request::Read),
        2 => Just(Request::WriteSingle),
        4 => (1..4_i32, end).prop_map(|(rows, end)| Request::Write { rows, end }),
        1 => Just(Request::Fail),
        2 => (0..RESIDUE.len()).prop_map(Request::Residue),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Create),
        Just(Change::Suspend),
        Just(Change::Resume),
        Just(Change::Delete),
        Just(Change::Restore),
        Just(Change::Purge),
    ]
}

fn op(tenants: usize) -> impl Strategy<Value = Op> {
    let polls = prop_oneof![3 => Just(None), 1 => (1..14_usize).prop_map(Some)];
    prop_oneof![
        12 => (0..tenants, request(), polls)
            .prop_map(|(tenant, request, polls)| Op::Request { tenant, request, polls }),
        4 => (0..tenants, change()).prop_map(|(tenant, change)| Op::Change { tenant, change }),
        1 => (0..tenants).prop_map(|tenant| Op::RevokeKey { tenant }),
        1 => (0..3_i64).prop_map(|which| Op::Disconnect { which }),
    ]
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    (1..=2_usize, 2..=3_usize, 4..=6_usize).prop_flat_map(|(cell_connections, max_connections, tenants)| {
        vec(vec(op(tenants), 4..20), 2..=4).prop_map(move |clients| Case {
            cell_connections,
            max_connections,
            tenants,
            clients,
        })
    })
}
