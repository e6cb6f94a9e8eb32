//! Names become addresses here, and every address is looked at. The connection goes to the addresses that were looked at, so a
//! name that leads elsewhere a moment later (DNS rebinding) leads nowhere.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::EgressConfig;
use super::address::is_public;

/// The addresses of a name, or why there are none.
pub type Found = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// Who resolves names.
pub trait Lookup: Send + Sync {
    /// The addresses of a host name.
    fn lookup(&self, host: String) -> Found;
}

/// The operating system.
struct System;

impl Lookup for System {
    fn lookup(&self, host: String) -> Found {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((host, 443)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// A name leads to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` leads to an address that is not public")]
pub(super) struct NotPublic(String);

pub(super) struct Guarded {
    lookup: Arc<dyn Lookup>,
    admitted: fn(IpAddr) -> bool,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

impl Guarded {
    #[cfg(not(feature = "negative-controls"))]
    pub(super) fn new(_: &EgressConfig) -> Self {
        Self { lookup: Arc::new(System), admitted: is_public }
    }

    #[cfg(feature = "negative-controls")]
    pub(super) fn new(config: &EgressConfig) -> Self {
        let laboratory = &config.laboratory;
        let admitted: fn(IpAddr) -> bool = match (laboratory.unchecked, laboratory.loopback) {
            (true, _) => |_| true,
            (false, true) => |address| is_public(address) || address == IpAddr::from([127, 0, 0, 1]),
            (false, false) => is_public,
        };
        let lookup = laboratory.lookup.clone().unwrap_or_else(|| Arc::new(System));
        Self { lookup, admitted }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let (found, admitted) = (self.lookup.lookup(host.clone()), self.admitted);
        Box::pin(async move {
            let addresses = found.await?;
            // One that is not public among several is no accident.
            if addresses.iter().any(|address| !admitted(*address)) {
                return Err(NotPublic(host).into());
            }
            // The port is the URL's.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
