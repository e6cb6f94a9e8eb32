use std::sync::atomic::AtomicUsize;

use tokio::sync::Notify;

use super::*;

fn map() -> Arc<Map<u32, u32>> {
    let hearing = Arc::new(Hearing::new(Duration::from_secs(60)));
    hearing.heard(Instant::now());
    Arc::new(Map::new(10, &hearing))
}

/// A database that answers when it is told to, and counts the questions.
#[derive(Default)]
struct Source {
    asked: AtomicUsize,
    begun: Notify,
    answer: Notify,
}

impl Source {
    async fn read(&self, value: Option<u32>) -> Result<Option<u32>, DbError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        self.answer.notified().await;
        Ok(value)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn reader(map: &Arc<Map<u32, u32>>, source: &Arc<Source>, value: Option<u32>) -> tokio::task::JoinHandle<Option<u32>> {
    let (map, source) = (Arc::clone(map), Arc::clone(source));
    tokio::spawn(async move { map.get_or_load(1, || source.read(value)).await.unwrap() })
}

async fn remembered(map: &Map<u32, u32>) -> Option<u32> {
    map.get_or_load(1, || async { Ok(Some(99)) }).await.unwrap()
}

#[tokio::test]
async fn readers_of_a_cold_key_share_one_reading() {
    let (map, source) = (map(), Arc::new(Source::default()));
    let readers: Vec<_> = (0..50).map(|_| reader(&map, &source, Some(7))).collect();
    source.begun.notified().await;
    tokio::task::yield_now().await;
    source.answer.notify_one();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), Some(7));
    }
    assert_eq!(source.asked(), 1);
    assert_eq!(remembered(&map).await, Some(7));
    assert!(map.lock().readings.is_empty());
}

#[tokio::test]
async fn an_error_is_shared_and_not_remembered() {
    let map = map();
    let asked = AtomicUsize::new(0);
    let read = || async {
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Err(DbError::Unavailable("away".into()))
    };
    let (one, two) = tokio::join!(map.get_or_load(1, read), map.get_or_load(1, read));
    assert!(matches!((one, two), (Err(AccessError::Stale(_)), Err(AccessError::Stale(_)))));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(remembered(&map).await, Some(99));
}

#[tokio::test]
async fn a_reading_survives_the_reader_that_began_it() {
    let (map, source) = (map(), Arc::new(Source::default()));
    let first = reader(&map, &source, Some(1));
    source.begun.notified().await;
    let second = reader(&map, &source, Some(2));
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    source.begun.notified().await;
    source.answer.notify_one();
    assert_eq!(second.await.unwrap(), Some(2));
    assert_eq!(remembered(&map).await, Some(2));
}

#[tokio::test]
async fn an_abandoned_reading_leaves_nothing() {
    let (map, source) = (map(), Arc::new(Source::default()));
    let readers: Vec<_> = (0..3).map(|_| reader(&map, &source, Some(1))).collect();
    source.begun.notified().await;
    for reader in readers {
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled());
    }
    assert!(map.lock().readings.is_empty());
}

#[tokio::test]
async fn what_was_read_before_an_invalidation_is_not_remembered_after_it() {
    for invalidate in [|m: &Map<u32, u32>| m.forget(&1), |m: &Map<u32, u32>| m.clear()] {
        let (map, source) = (map(), Arc::new(Source::default()));
        let before = reader(&map, &source, Some(1));
        source.begun.notified().await;
        invalidate(&map);
        // Whoever comes now must not get the answer that is on its way.
        assert_eq!(remembered(&map).await, Some(99));
        source.answer.notify_one();
        assert_eq!(before.await.unwrap(), Some(1));
        assert_eq!(remembered(&map).await, Some(99));
    }
}

#[tokio::test]
async fn a_missing_name_is_asked_for_again_once_something_appeared() {
    let (map, source) = (map(), Arc::new(Source::default()));
    let missing = reader(&map, &source, None);
    source.begun.notified().await;
    source.answer.notify_one();
    assert_eq!(missing.await.unwrap(), None);
    assert_eq!(remembered(&map).await, None, "remembered for a while");
    // A reading that began before the name appeared may not hide it either.
    map.forget_missing();
    let missing = reader(&map, &source, None);
    source.begun.notified().await;
    map.forget_missing();
    source.answer.notify_one();
    assert_eq!(missing.await.unwrap(), None);
    assert_eq!(remembered(&map).await, Some(99));
}

#[tokio::test]
async fn nothing_old_is_trusted_while_deaf() {
    let hearing = Arc::new(Hearing::new(Duration::ZERO));
    let map: Map<u32, u32> = Map::new(10, &hearing);
    for value in [1, 2] {
        assert_eq!(map.get_or_load(1, || async { Ok(Some(value)) }).await.unwrap(), Some(value));
    }
}
