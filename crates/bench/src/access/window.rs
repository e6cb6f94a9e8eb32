//! A load of concurrent clients for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::CLIENTS;
use super::reader::Reader;

/// Reads a second: all clients together, counted after they have settled.
pub(super) async fn run(reader: &Reader, settle: Duration, span: Duration) -> anyhow::Result<f64> {
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
    let (before, began) = (done(), Instant::now());
    tokio::time::sleep(span).await;
    let (after, elapsed) = (done(), began.elapsed());
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
    Ok((after - before) as f64 / elapsed.as_secs_f64())
}
