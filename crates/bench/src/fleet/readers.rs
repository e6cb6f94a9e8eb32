//! Clients that read from random tenants while something else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tenantry_core::Slug;
use tenantry_postgres::{Registry, TenantDb};
use workforce::store::agents::FIND_AGENT;

use crate::ground::{AGENTS, Server, agent_id, slug};
use crate::stats::percentile;

pub(super) const READERS: usize = 8;

#[derive(Clone)]
pub(super) struct Readers {
    registry: Registry,
    db: TenantDb,
    slugs: Arc<[Slug]>,
}

/// What readers met.
#[derive(Default)]
pub(super) struct Met {
    millis: Vec<f64>,
    span: Duration,
    failures: Vec<String>,
}

impl Met {
    pub(super) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.millis, share)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
    pub(super) fn rate(&self) -> f64 {
        self.millis.len() as f64 / self.span.as_secs_f64()
    }

    pub(super) fn requests(&self) -> usize {
        self.millis.len() + self.failures.len()
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }
}

impl Readers {
    pub(super) fn new(server: &Server, tenants: usize) -> anyhow::Result<Self> {
        let slugs: Result<Vec<Slug>, _> = (0..tenants).map(|n| slug(n).parse()).collect();
        Ok(Self { registry: server.registry.clone(), db: server.db.clone(), slugs: slugs?.into() })
    }

    /// Reads until `work` is done.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<(T, Met)> {
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let clients: Vec<_> = (0..READERS).map(|_| tokio::spawn(self.clone().client(Arc::clone(&stop)))).collect();
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        let mut met = Met { span: began.elapsed(), ..Met::default() };
        for client in clients {
            let theirs = client.await?;
            met.millis.extend(theirs.millis);
            met.failures.extend(theirs.failures);
        }
        Ok((done, met))
    }

    async fn client(self, stop: Arc<AtomicBool>) -> Met {
        let mut random = SmallRng::seed_from_u64(rand::random());
        let mut met = Met::default();
        while !stop.load(Ordering::Relaxed) {
            let (at, agent) = (random.random_range(0..self.slugs.len()), random.random_range(0..AGENTS));
            let began = Instant::now();
            match self.read(&self.slugs[at], agent).await {
                Ok(()) => met.millis.push(began.elapsed().as_secs_f64() * 1000.0),
                Err(error) => met.failures.push(error.to_string()),
            }
        }
        met
    }

    /// As a request does it: who the tenant is, then its row, and a look at whose row came.
    async fn read(&self, slug: &Slug, agent: usize) -> anyhow::Result<()> {
        let context = self.registry.system_context(slug, "benchmark").await?;
        let mut tx = self.db.single(&context).await?;
        let row = tx.query_one(&FIND_AGENT, &[&agent_id(agent), &false]).await?;
        let name: &str = row.get(1);
        anyhow::ensure!(name.split(' ').next() == Some(slug.as_str()), "a row of `{name}` came for `{slug}`");
        Ok(())
    }
}
