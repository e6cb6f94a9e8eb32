//! What the disk allows: the most that changes of one commit each can reach, on any side.

use std::time::{Duration, Instant};

use crate::ground::Ground;

const SPAN: Duration = Duration::from_secs(2);

/// Commits a second of `clients` that do nothing else, each on a connection of its own without any tenant.
pub(super) async fn rate(ground: &Ground, clients: usize) -> anyhow::Result<f64> {
    let admin = ground.admin().await?;
    admin.batch_execute("CREATE TABLE public.bench_commits (n bigint GENERATED ALWAYS AS IDENTITY)").await?;
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let client = ground.admin().await?;
        tasks.push(tokio::spawn(async move {
            let insert = client.prepare("INSERT INTO public.bench_commits DEFAULT VALUES").await?;
            let (mut count, began) = (0_u32, Instant::now());
            while began.elapsed() < SPAN {
                client.execute(&insert, &[]).await?;
                count += 1;
            }
            anyhow::Ok(f64::from(count) / began.elapsed().as_secs_f64())
        }));
    }
    let mut rate = 0.0;
    for task in tasks {
        rate += task.await??;
    }
    admin.batch_execute("DROP TABLE public.bench_commits").await?;
    Ok(rate)
}
