//! Rotation while servers go on serving.

use std::sync::atomic::AtomicBool;

use futures_util::future::join_all;
use tenantry_secrets::key_version;

use super::*;

async fn company(world: &World, slug: &str) -> TenantContext {
    world.tenant(slug).await;
    world.context(slug).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_changed_under_running_servers() {
    let world = world().await;
    let (old, both) = {
        let (one, two) = (line("one"), line("two"));
        (ring(&one), ring(&format!("{one}\n{two}")))
    };
    let before = server(&world, old);
    let mut values = Vec::new();
    for n in 0..6 {
        let context = company(&world, &format!("company-{n}")).await;
        let sealed = seal(&before, &context, "hunter2").await;
        values.push((context, sealed));
    }
    let values = Arc::new(values);
    // A server that has both keys reads all the while; each of its reads asks the master key.
    let stop = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (values, stop, config, keys) = (values.clone(), stop.clone(), world.database.config.clone(), both.clone());
        async move {
            let mut reads = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let secrets = Secrets::with(&config, keys.clone(), Duration::ZERO, Arc::new(SystemClock));
                for (context, sealed) in &*values {
                    assert_eq!(open(&secrets, context, sealed).await.unwrap(), "hunter2");
                    reads += 1;
                }
            }
            reads
        }
    });
    let after = server(&world, both);
    assert_eq!(after.status().await.unwrap().to_rewrap, 6);
    // Interrupted after some, it continues with the rest.
    let one = values[0].0.id();
    assert_eq!(after.rewrap(Some(one), &actor(), |_| {}).await.unwrap().rewrapped, 1);
    assert_eq!(after.status().await.unwrap().to_rewrap, 5);
    let mut seen = Vec::new();
    let done = after.rewrap(None, &actor(), |progress| seen.push(progress)).await.unwrap();
    assert_eq!((done.rewrapped, done.failed.len(), done.master_key_id.as_str()), (5, 0, "two"));
    assert_eq!(seen.last().unwrap().total, 5);
    stop.store(true, Ordering::SeqCst);
    assert!(reading.await.unwrap() > 0);
    let status = after.status().await.unwrap();
    assert_eq!((status.to_rewrap, status.current_master_key.as_str()), (0, "two"));
    assert_eq!(status.master_keys.len(), 1, "nothing needs the old key any more: {status:?}");
    assert_eq!(after.rewrap(None, &actor(), |_| {}).await.unwrap().rewrapped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_at_once_and_a_killed_one_leave_every_key_whole() {
    let world = world().await;
    let (one, two) = (line("one"), line("two"));
    let before = server(&world, ring(&one));
    let mut values = Vec::new();
    for n in 0..8 {
        let context = company(&world, &format!("company-{n}")).await;
        let sealed = seal(&before, &context, "hunter2").await;
        values.push((context, sealed));
    }
    let both = ring(&format!("{one}\n{two}"));
    let rotate = || {
        let secrets = server(&world, both.clone());
        tokio::spawn(async move { secrets.rewrap(None, &actor(), |_| {}).await.unwrap().rewrapped })
    };
    let killed = rotate();
    tokio::task::yield_now().await;
    killed.abort();
    let done: u64 = join_all([rotate(), rotate()]).await.into_iter().map(Result::unwrap).sum();
    assert!(done <= 8, "each key is wrapped anew once, by whoever came first: {done}");
    let secrets = server(&world, both);
    assert_eq!(secrets.status().await.unwrap().to_rewrap, 0);
    for (context, sealed) in &values {
        assert_eq!(open(&secrets, context, sealed).await.unwrap(), "hunter2");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_unwrapped_are_told_and_stay() {
    let world = world().await;
    let (lost, kept, new) = (line("lost"), line("kept"), line("new"));
    let (acme, globex) = (company(&world, "acme").await, company(&world, "globex").await);
    let of_lost = seal(&server(&world, ring(&lost)), &acme, "a").await;
    let of_kept = seal(&server(&world, ring(&kept)), &globex, "b").await;
    let secrets = server(&world, ring(&format!("{kept}\n{new}")));
    let done = secrets.rewrap(None, &actor(), |_| {}).await.unwrap();
    assert_eq!((done.rewrapped, done.failed.len()), (1, 1));
    assert!(done.failed[0].tenant_id == acme.id() && done.failed[0].reason.contains("`lost`"), "{done:?}");
    assert_eq!(open(&secrets, &globex, &of_kept).await.unwrap(), "b");
    // With the lost key found again, the next run does the rest.
    let found = server(&world, ring(&format!("{lost}\n{new}")));
    assert_eq!(found.rewrap(None, &actor(), |_| {}).await.unwrap().rewrapped, 1);
    assert_eq!(open(&secrets, &acme, &of_lost).await.unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_data_key_seals_and_the_old_one_goes_on_opening() {
    let world = world().await;
    let context = company(&world, "acme").await;
    let keys = ring(&line("m"));
    let (here, there) = (server(&world, keys.clone()), server(&world, keys));
    let first = seal(&here, &context, "first").await;
    open(&there, &context, &first).await.unwrap();
    assert_eq!(here.rotate_data_key(&context).await.unwrap(), 2);
    let second = seal(&here, &context, "second").await;
    assert_eq!((key_version(&first), key_version(&second)), (Some(1), Some(2)));
    // The other server has the old key in memory: it still seals with it, and opens both.
    let meanwhile = seal(&there, &context, "meanwhile").await;
    assert_eq!(key_version(&meanwhile), Some(1));
    for secrets in [&here, &there] {
        for (sealed, value) in [(&first, "first"), (&second, "second"), (&meanwhile, "meanwhile")] {
            assert_eq!(open(secrets, &context, sealed).await.unwrap(), value);
        }
    }
    // Many at once: whoever loses takes the winner's key, and one key is current.
    let jobs = (0..6).map(|_| {
        let (secrets, context) = (here.clone(), context.clone());
        tokio::spawn(async move { secrets.rotate_data_key(&context).await.unwrap() })
    });
    let versions: Vec<i32> = join_all(jobs).await.into_iter().map(Result::unwrap).collect();
    let admin = world.admin().await;
    let sql = "SELECT count(*), count(*) FILTER (WHERE retired_at IS NULL), max(version) FROM public.tenant_data_keys";
    let row = admin.query_one(sql, &[]).await.unwrap();
    let (all, current, last): (i64, i64, i32) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((all, current), (i64::from(last), 1));
    assert!(versions.iter().all(|version| (3..=last).contains(version)), "{versions:?}");
}
