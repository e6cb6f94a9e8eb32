//! What waits for the writer, and who is the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::Request;

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes nobody: see [`wake`](Self::wake). `false` when nobody writes any more.
    pub(super) fn put(&self, request: Request) -> bool {
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.requests.push_back(request);
        }
        !waiting.closed
    }

    /// The next one, if it is of this kind.
    pub(super) fn take_if(&self, is: impl FnOnce(&Request) -> bool) -> Option<Request> {
        self.waiting().requests.pop_front_if(|request| is(request))
    }

    /// Has the thread take what waits.
    pub(super) fn wake(&self) {
        if !self.waiting().requests.is_empty() {
            self.news.notify_one();
        }
    }

    /// Returns when something waits.
    pub(super) fn wait(&self) {
        let waiting = self.waiting();
        drop(self.news.wait_while(waiting, |waiting| waiting.requests.is_empty()));
    }

    /// Closes it when the thread ends, however that comes.
    pub(super) const fn close_at_end(&self) -> CloseAtEnd<'_> {
        CloseAtEnd(self)
    }

    /// Nothing is taken any more, and who waits is told so.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.requests.clear();
    }
}

pub(super) struct CloseAtEnd<'a>(&'a Queue);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
