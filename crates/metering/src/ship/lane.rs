use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How much less urgent the thread is than those that serve: who wakes there gets the processor from it at once, and it still gets a part of
/// one that all want.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// A thread for what nobody waits for, with a runtime of its own: what takes long on it keeps no call waiting. It ends when this is dropped, and what runs on it.
#[derive(Debug)]
pub(super) struct Lane {
    runtime: Handle,
    end: DropGuard,
    thread: JoinHandle<()>,
}

impl Lane {
    pub(super) fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name("shipping").build()?;
        let handle = runtime.handle().clone();
        let ended = CancellationToken::new();
        let end = ended.clone().drop_guard();
        let thread = std::thread::Builder::new().name("shipping".into()).spawn(move || {
            yield_to_others();
            runtime.block_on(ended.cancelled());
        })?;
        Ok(Self { runtime: handle, end, thread })
    }

    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Ends it, and waits until nothing of it runs.
    pub(super) async fn close(self) {
        let Self { end, thread, .. } = self;
        drop(end);
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// Makes this thread less urgent, and those that it starts. Only Linux knows that of a thread.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(target: "tenantry::ship", %error, "shipping is as urgent as serving");
    }
}
