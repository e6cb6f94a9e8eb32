//! What must be true of the tenants and their rows, kept beside the database.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use tenantry_core::TenantId;
use tokio_postgres::Row;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Absent,
    Active,
    Suspended,
    Deleted,
}

/// A tenant's status, with a version that is odd while it is being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) version: u64,
    pub(super) status: Status,
}

/// One slug.
pub(super) struct Tenant {
    pub(super) slug: String,
    /// Changes of one tenant follow each other; requests do not wait for them.
    pub(super) changing: tokio::sync::Mutex<()>,
    life: Mutex<Life>,
}

impl Tenant {
    pub(super) fn new(slug: String) -> Self {
        let life = Mutex::new(Life { version: 0, status: Status::Absent });
        Self { slug, changing: tokio::sync::Mutex::default(), life }
    }

    pub(super) fn life(&self) -> Life {
        *self.life.lock().unwrap()
    }

    pub(super) fn change_begins(&self) {
        self.life.lock().unwrap().version += 1;
    }

    pub(super) fn change_ended(&self, status: Status) {
        let mut life = self.life.lock().unwrap();
        life.version += 1;
        life.status = status;
    }
}

/// The rows of one tenant, by group. A group is written in one transaction.
#[derive(Default, Clone)]
struct Groups {
    acknowledged: HashMap<String, usize>,
    /// On their way, or without an answer: wholly there or not at all.
    unknown: HashMap<String, usize>,
    /// Rolled back.
    gone: HashSet<String>,
}

/// All rows ever written; tenants by id, so that a slug used again is another tenant.
#[derive(Default)]
pub(super) struct Rows {
    tenants: Mutex<HashMap<TenantId, Groups>>,
}

impl Rows {
    pub(super) fn begun(&self, tenant: TenantId, batch: &str, rows: usize) {
        self.tenants.lock().unwrap().entry(tenant).or_default().unknown.insert(batch.to_owned(), rows);
    }

    pub(super) fn acknowledged(&self, tenant: TenantId, batch: &str) {
        let mut tenants = self.tenants.lock().unwrap();
        let groups = tenants.entry(tenant).or_default();
        let rows = groups.unknown.remove(batch).unwrap();
        groups.acknowledged.insert(batch.to_owned(), rows);
    }

    pub(super) fn gone(&self, tenant: TenantId, batch: &str) {
        let mut tenants = self.tenants.lock().unwrap();
        let groups = tenants.entry(tenant).or_default();
        groups.unknown.remove(batch);
        groups.gone.insert(batch.to_owned());
    }

    /// The groups that whoever reads from now on must see.
    pub(super) fn to_be_seen(&self, tenant: TenantId) -> HashMap<String, usize> {
        self.tenants.lock().unwrap().get(&tenant).map(|g| g.acknowledged.clone()).unwrap_or_default()
    }

    /// Checks what a tenant read, against what was to be seen when it began.
    pub(super) fn check(&self, tenant: TenantId, rows: &[Row], to_be_seen: &HashMap<String, usize>) {
        let own = tenant.to_string();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for row in rows {
            assert_eq!(row.get::<_, &str>(0), own, "a foreign row");
            *seen.entry(row.get(1)).or_default() += 1;
        }
        for (batch, rows) in to_be_seen {
            assert_eq!(seen.get(batch.as_str()), Some(rows), "an acknowledged write of {own} is lost: `{batch}`");
        }
        let groups = self.tenants.lock().unwrap().get(&tenant).cloned().unwrap_or_default();
        for (batch, rows) in seen {
            assert!(!groups.gone.contains(batch), "rolled back, and there: `{batch}`");
            let whole = groups.acknowledged.get(batch).or(groups.unknown.get(batch));
            assert_eq!(whole, Some(&rows), "half a transaction, or a row from nowhere: `{batch}`");
        }
    }
}
