//! Futures that are dropped at a chosen point of their way.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls a future at most `limit` times and then drops it, as a server does when its client goes away. `None`: it was not
/// done by then.
pub async fn at_most<F: Future>(limit: usize, future: F) -> Option<F::Output> {
    AtMost { left: limit, future: Some(Box::pin(future)) }.await
}

struct AtMost<F> {
    left: usize,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for AtMost<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while self.left > 0 {
            self.left -= 1;
            let Some(future) = self.future.as_mut() else { break };
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => return Poll::Ready(Some(output)),
                // After the last poll it is dropped at once: what it has in flight is what a cancelled request leaves.
                Poll::Pending if self.left > 0 => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        self.future = None;
        Poll::Ready(None)
    }
}
