//! The tenants to read from, and in which proportion.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tenantry_postgres::{TenantContext, TenantDb};
use workforce::store::agents::FIND_AGENT;

use crate::ground::{Ground, Server, agent_id, slug};

use super::CLIENTS;

/// Which tenants are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Hot,
    Hot64,
    Zipf,
    Uniform,
}

impl Pattern {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Hot64 => "hot64",
            Self::Zipf => "zipf",
            Self::Uniform => "uniform",
        }
    }
}

/// One tenant of the fleet.
pub(super) struct Member {
    pub(super) context: TenantContext,
    pub(super) schema: String,
    pub(super) role: String,
    /// Every agent of the tenant has it in its name.
    pub(super) mark: String,
}

/// All tenants in an order that has nothing to do with their cells: the first is the most popular.
pub(super) struct Fleet {
    pub(super) members: Vec<Member>,
    /// Sums of 1/n.
    popularity: Vec<f64>,
    /// The process of the database server.
    pub(super) server: Option<i32>,
}

impl Fleet {
    pub(super) async fn load(ground: &Ground, server: &Server, count: usize) -> anyhow::Result<Self> {
        let rows = ground
            .admin()
            .await?
            .query("SELECT slug, schema_name, id FROM public.tenants WHERE slug LIKE 'bench-%' ORDER BY slug", &[])
            .await?;
        let registry = &server.registry;
        let mut members: Vec<Member> = stream::iter(rows.iter().take(count))
            .map(|row| async move {
                let name: String = row.get(0);
                let id: uuid::Uuid = row.get(2);
                let context = registry.system_context(&name.parse()?, "benchmark").await?;
                anyhow::Ok(Member {
                    context,
                    schema: tenantry_core::quote_identifier(row.get(1)),
                    role: tenantry_core::quote_identifier(&format!("tnt_{}", id.simple())),
                    mark: name,
                })
            })
            .buffered(4)
            .try_collect()
            .await?;
        anyhow::ensure!(members.len() == count, "there are {} tenants up to {}", members.len(), slug(count));
        members.shuffle(&mut SmallRng::seed_from_u64(7));
        let mut sum = 0.0;
        let popularity = (1..=count).map(|n| {
            sum += 1.0 / f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            sum
        });
        let popularity = popularity.collect();
        Ok(Self { members, popularity, server: ground.pid() })
    }

    /// The tenant of a client's next read.
    pub(super) fn pick(&self, pattern: Pattern, client: usize, random: &mut SmallRng) -> &Member {
        let at = match pattern {
            Pattern::Hot => client,
            Pattern::Hot64 => random.random_range(0..64),
            Pattern::Uniform => random.random_range(0..self.members.len()),
            Pattern::Zipf => {
                let point = random.random_range(0.0..self.popularity.last().copied().unwrap_or(1.0));
                self.popularity.partition_point(|sum| *sum <= point)
            }
        };
        &self.members[at.min(self.members.len() - 1)]
    }
}

/// Reads from every tenant `times` times.
pub(super) async fn visit(db: &TenantDb, fleet: &Arc<Fleet>, times: usize) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (db, fleet, next) = (db.clone(), Arc::clone(fleet), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(member) = fleet.members.get(at) else { return anyhow::Ok(()) };
                    for n in 0..times {
                        let mut tx = db.single(&member.context).await?;
                        tx.query_one(&FIND_AGENT, &[&agent_id(n), &false]).await?;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}
