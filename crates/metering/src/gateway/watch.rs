//! Waiting for a provider while its client may go and the server may stop.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Why nobody waits any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It took too long.
    TimedOut,
    /// The client has gone, and what it asked for is not read on: too many are, or this one for too long.
    Left,
    /// The server stops.
    Stopped,
}

/// One call's patience.
pub(super) struct Watch {
    stop: CancellationToken,
    drains: Arc<Semaphore>,
    drain_timeout: Duration,
    /// Since when nobody waits for the answer, and the place of those that are read on.
    drain: Option<(OwnedSemaphorePermit, Instant)>,
    left: bool,
}

impl Watch {
    pub(super) fn new(stop: CancellationToken, drains: Arc<Semaphore>, drain_timeout: Duration) -> Self {
        Self { stop, drains, drain_timeout, drain: None, left: false }
    }

    /// Whether the client has gone.
    pub(super) const fn is_left(&self) -> bool {
        self.left
    }

    /// Waits for something, at most so long. `leaving` resolves when the client goes; what it asked for is then read on, for what it costs.
    pub(super) async fn until<T>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = T>,
        leaving: impl Future<Output = ()>,
    ) -> Result<T, Ended> {
        let mut work = pin!(work);
        let mut leaving = pin!(leaving);
        let deadline = Instant::now() + limit;
        let stop = self.stop.clone();
        let mut stopping = pin!(stop.cancelled());
        loop {
            let until = self.drain.as_ref().map_or(deadline, |(_, until)| deadline.min(*until));
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = &mut leaving, if !self.left => self.leave()?,
                () = &mut stopping => return Err(Ended::Stopped),
                () = sleep_until(until) => return Err(if until < deadline { Ended::Left } else { Ended::TimedOut }),
            }
        }
    }

    /// Waits until the client takes something; gives whether it did. One that takes nothing for so long has gone.
    pub(super) async fn give<E>(
        &mut self,
        limit: Duration,
        send: impl Future<Output = Result<(), E>>,
    ) -> Result<(), Ended> {
        match self.until(limit, send, std::future::pending()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(Ended::TimedOut) => self.leave(),
            Err(ended) => Err(ended),
        }
    }

    fn leave(&mut self) -> Result<(), Ended> {
        if self.left {
            return Ok(());
        }
        self.left = true;
        let place = Arc::clone(&self.drains).try_acquire_owned().map_err(|_| Ended::Left)?;
        self.drain = Some((place, Instant::now() + self.drain_timeout));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn watch(places: usize) -> (Watch, CancellationToken, Arc<Semaphore>) {
        let (stop, drains) = (CancellationToken::new(), Arc::new(Semaphore::new(places)));
        (Watch::new(stop.clone(), Arc::clone(&drains), Duration::from_millis(20)), stop, drains)
    }

    #[tokio::test]
    async fn it_ends_for_each_reason() {
        let (mut watch, stop, _) = watch(1);
        assert_eq!(watch.until(LONG, ready(7), pending()).await, Ok(7));
        assert_eq!(watch.until(Duration::from_millis(1), pending::<()>(), pending()).await, Err(Ended::TimedOut));
        stop.cancel();
        assert_eq!(watch.until(LONG, pending::<()>(), pending()).await, Err(Ended::Stopped));
    }

    #[tokio::test]
    async fn a_client_that_goes_is_read_on_for_while_there_is_place() {
        let (mut one, _, drains) = watch(1);
        assert_eq!(one.until(LONG, pending::<()>(), ready(())).await, Err(Ended::Left), "its time is over");
        assert!(one.is_left());
        let mut other = Watch::new(CancellationToken::new(), Arc::clone(&drains), LONG);
        assert_eq!(other.until(LONG, pending::<()>(), ready(())).await, Err(Ended::Left), "no place");
        drop(one);
        let mut third = Watch::new(CancellationToken::new(), drains, LONG);
        let later = tokio::time::sleep(Duration::from_millis(5));
        assert_eq!(third.until(LONG, later, ready(())).await, Ok(()), "it is read to its end");
        assert!(third.is_left());
    }
}
