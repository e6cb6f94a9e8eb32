//! How long a suspended tenant is still served by servers that are not told.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tenantry_postgres::{Actor, DbError, NotReady, TenantContext, TenantDb};
use workforce::store::agents::FIND_AGENT;

use crate::ground::{self, Ground, Server, agent_id};
use crate::report::{Report, Row};
use crate::stats::percentile;

const ROUNDS: usize = 300;
const ROUNDS_CUT: usize = 15;
const BOUND_MS: f64 = 1000.0;

pub(super) async fn measure() -> anyhow::Result<Report> {
    let mut report = Report::new("revocation");
    let mut ground = Ground::start("revocation", None).await?;
    ground.fill(2).await?;
    report.fact("server", ground.facts());
    report.fact("rounds", format!("{ROUNDS} heard, {ROUNDS_CUT} with NOTIFY cut, two servers each"));
    let servers = [ground.server().await?, ground.server().await?];

    let (mut heard, mut asked) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round.is_multiple_of(100) {
            eprintln!("bench: revocation, round {round} of {ROUNDS}");
        }
        let (times, suspending) = once(&ground, &servers).await?;
        heard.extend(times);
        asked.push(suspending);
        serve_again(&ground, &servers).await?;
    }
    let mut unheard = Vec::new();
    for round in 0..ROUNDS_CUT {
        if round.is_multiple_of(5) {
            eprintln!("bench: revocation with NOTIFY cut, round {round} of {ROUNDS_CUT}");
        }
        // The entries are as fresh as can be when the servers go deaf, and so trusted for as long as can be.
        for server in &servers {
            server.registry.cut_listener(Duration::from_secs(3));
        }
        for server in &servers {
            wait_until(|| async { Ok(server.registry.readiness().await.contains(&NotReady::Listener)) }).await?;
        }
        unheard.extend(once(&ground, &servers).await?.0);
        serve_again(&ground, &servers).await?;
        for server in &servers {
            ensure!(server.registry.wait_until_listening(Duration::from_secs(20)).await, "a server stays deaf");
        }
    }
    for (name, times) in [("revocation", &heard), ("revocation_notify_cut", &unheard)] {
        report.push(Row::lower(format!("{name}_p50"), percentile(times, 0.5), "ms").goal(BOUND_MS));
        report.push(Row::lower(format!("{name}_p99"), percentile(times, 0.99), "ms").goal(BOUND_MS));
        report.push(Row::lower(format!("{name}_max"), percentile(times, 1.0), "ms"));
    }
    report.push(Row::lower("suspending_p50", percentile(&asked, 0.5), "ms"));
    report.push(Row::lower("suspending_max", percentile(&asked, 1.0), "ms"));
    for server in servers {
        server.db.close();
        server.registry.stop();
    }
    ground.finish().await?;
    Ok(report)
}

/// Suspends while both servers read. Gives the time from the wish to the first refusal of each, and to its acknowledgement.
async fn once(ground: &Ground, servers: &[Server; 2]) -> anyhow::Result<([f64; 2], f64)> {
    let slug = ground::slug(0);
    let mut readers = Vec::new();
    for server in servers {
        let context = server.registry.system_context(&slug.parse()?, "benchmark").await?;
        let db = server.db.clone();
        ensure!(read(&db, &context).await?, "the tenant is not served");
        readers.push(tokio::spawn(async move {
            loop {
                if !read(&db, &context).await? {
                    return anyhow::Ok(Instant::now());
                }
                // A pause well below what is measured leaves the cores to those who bring the news.
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    let began = Instant::now();
    ground.provisioner.suspend(&slug, &Actor::system("benchmark")).await?;
    let acknowledged = began.elapsed().as_secs_f64() * 1000.0;
    let mut times = [0.0; 2];
    for (time, reader) in times.iter_mut().zip(readers) {
        *time = (reader.await?? - began).as_secs_f64() * 1000.0;
    }
    Ok((times, acknowledged))
}

async fn serve_again(ground: &Ground, servers: &[Server; 2]) -> anyhow::Result<()> {
    let slug = ground::slug(0);
    ground.provisioner.resume(&slug, &Actor::system("benchmark")).await?;
    for server in servers {
        let slug = slug.parse()?;
        wait_until(|| async { Ok(server.registry.system_context(&slug, "benchmark").await.is_ok()) }).await?;
    }
    Ok(())
}

/// Whether a read was served; an error other than a refusal ends the benchmark.
async fn read(db: &TenantDb, context: &TenantContext) -> anyhow::Result<bool> {
    let mut tx = match db.single(context).await {
        Ok(tx) => tx,
        Err(DbError::ContextExpired) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    tx.query_one(&FIND_AGENT, &[&agent_id(0), &false]).await?;
    Ok(true)
}

async fn wait_until<F>(done: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    for _ in 0..10_000 {
        if done().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("a server did not come to the expected state within 10 s")
}
