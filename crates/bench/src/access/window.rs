//! A load of concurrent clients for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::CLIENTS;
use super::reader::Reader;
use crate::cpu;

/// What a load came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Reads a second, all clients together.
    pub(super) rate: f64,
    /// Processor time of a read in microseconds, this program's and the server's.
    pub(super) cpu_us: f64,
}

/// Counts the reads of all clients after they have settled.
pub(super) async fn run(reader: &Reader, settle: Duration, span: Duration) -> anyhow::Result<Pace> {
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicU64>> = (0..CLIENTS).map(|_| Arc::default()).collect();
    let clients: Vec<_> = counts
        .iter()
        .enumerate()
        .map(|(client, count)| {
            let (stop, count, reader) = (Arc::clone(&stop), Arc::clone(count), reader.clone());
            tokio::spawn(async move {
                let mut random = SmallRng::seed_from_u64(rand::random());
                let mut seat = reader.seat(client);
                while !stop.load(Ordering::Relaxed) {
                    seat.read(&mut random).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    let done = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    tokio::time::sleep(settle).await;
    let (before, began, cpu_before) = (done(), Instant::now(), cpu::used(reader.server()));
    tokio::time::sleep(span).await;
    let (after, elapsed, cpu_after) = (done(), began.elapsed(), cpu::used(reader.server()));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
    let reads = (after - before) as f64;
    let cpu = cpu_after.saturating_sub(cpu_before).as_secs_f64() * 1e6;
    Ok(Pace { rate: reads / elapsed.as_secs_f64(), cpu_us: cpu / reads.max(1.0) })
}
