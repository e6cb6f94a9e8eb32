//! Another process that changes the fleet: this test binary again, told by its environment what to do.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::process::Stdio;
use std::time::Duration;

use chrono::TimeDelta;
use isolation::marks::schema;
use tenantry_postgres::{Actor, NewTenant, ProvisionError, Provisioner};
use testkit::TestDatabase;
use tokio::process::{Child, Command};

const CHANGE: &str = "ISOLATION_CHILD_CHANGE";
const SERVER: &str = "ISOLATION_CHILD_SERVER";
const DATABASE: &str = "ISOLATION_CHILD_DATABASE";
const SLUG: &str = "ISOLATION_CHILD_SLUG";

/// A change of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    CreateDedicated,
    /// Suspension, resumption and restoration are the same code with another status.
    Delete,
    Purge,
    /// Makes one warm schema.
    Refill,
    /// Creates a tenant from it.
    Claim,
    /// Removes it.
    Reduce,
}

impl Change {
    /// Every change. A new one is refused by the compiler in [`Change::run`] and belongs here, too.
    pub(crate) const ALL: [Self; 7] =
        [Self::Create, Self::CreateDedicated, Self::Delete, Self::Purge, Self::Refill, Self::Claim, Self::Reduce];

    /// A change that sends less was not seen by whoever counts.
    pub(crate) fn least_requests(self) -> usize {
        if self == Self::Claim { 1 } else { 4 }
    }

    pub(crate) async fn run(self, provisioner: &Provisioner, slug: &str) -> Result<(), ProvisionError> {
        let actor = Actor::system("test");
        match self {
            Self::Create | Self::CreateDedicated | Self::Claim => {
                let new = NewTenant {
                    slug: slug.parse()?,
                    admin_email: format!("admin@{slug}.example"),
                    plan_tier: "enterprise".into(),
                    allowed_domains: vec![format!("{slug}.example.org")],
                    dedicated: self == Self::CreateDedicated,
                };
                provisioner.create(&new, &actor).await.map(drop)
            }
            Self::Delete => provisioner.delete(slug, TimeDelta::zero(), &actor).await.map(drop),
            Self::Purge => provisioner.purge(slug, TimeDelta::zero(), &actor).await.map(drop),
            Self::Refill => provisioner.refill(1, Duration::ZERO).await.map(drop),
            Self::Reduce => provisioner.reduce(0).await.map(drop),
        }
    }

    /// Starts another process that makes the change.
    pub(crate) fn start(self, database: &TestDatabase, slug: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::does_what_it_is_told", "--nocapture"])
            .env(CHANGE, format!("{self:?}"))
            .env(SERVER, database.server())
            .env(DATABASE, &database.name)
            .env(SLUG, slug)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }
}

pub(crate) fn provisioner(database: &TestDatabase) -> Provisioner {
    Provisioner::new(&database.config, schema(), 1)
}

/// Nothing by itself; as a child it makes one change and says how that went.
#[tokio::test]
async fn does_what_it_is_told() {
    let Ok(change) = std::env::var(CHANGE) else { return };
    let told = |name: &str| std::env::var(name).unwrap();
    let change = Change::ALL.into_iter().find(|c| format!("{c:?}") == change).unwrap();
    let database = TestDatabase::existing(&told(SERVER), &told(DATABASE));
    match change.run(&provisioner(&database), &told(SLUG)).await {
        Ok(()) => println!("outcome: done"),
        Err(ProvisionError::SlugTaken(_)) => println!("outcome: taken"),
        Err(error) => println!("outcome: {error}"),
    }
}
