//! Requests to services with a company's credential: to the credential's service only, at public addresses only, over HTTPS
//! only, without following redirects, and with an answer in which the credential does not occur.

mod address;
mod check;
mod deliver;
mod resolve;
mod scrub;
mod send;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use serde::{Deserialize, Serialize};

use super::Broken;

pub use address::is_public;
pub use check::{check_header_name, check_path, check_service};
pub use deliver::Delivery;
pub use resolve::{Found, Lookup};
pub use send::Outgoing;

/// Settings of requests to services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressConfig {
    /// The hosts that credentials may be for: names, or `.example.com` for all below a domain. Default: none, which allows
    /// every public host.
    pub allowed_hosts: Vec<String>,
    /// How long a service may take to answer, to the end. Default: 20 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub timeout: Duration,
    /// The largest answer that is taken, in bytes. Default: 1 MiB.
    pub max_answer: usize,
    /// How names are resolved and whom to trust, in a test.
    #[cfg(feature = "negative-controls")]
    #[serde(skip)]
    pub laboratory: Laboratory,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            timeout: Duration::from_secs(20),
            max_answer: 1024 * 1024,
            #[cfg(feature = "negative-controls")]
            laboratory: Laboratory::default(),
        }
    }
}

/// What a test needs to be its own internet. Exists only with the feature `negative-controls`, which no product build enables.
#[cfg(feature = "negative-controls")]
#[derive(Clone, Default)]
pub struct Laboratory {
    /// A certificate to trust besides, as PEM.
    pub trust: Option<Vec<u8>>,
    /// Who resolves names.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Whether addresses of this machine are taken for public ones.
    pub loopback: bool,
    /// Whether addresses are checked at all; off only in a negative control.
    pub unchecked: bool,
}

#[cfg(feature = "negative-controls")]
impl std::fmt::Debug for Laboratory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Laboratory(..)")
    }
}

/// Why a request to a service brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The host or its address is not one to go to.
    #[error("{0}")]
    Refused(String),
    /// No connection, or no answer.
    #[error("the service cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that is not taken.
    #[error("the service's answer is not taken: {0}")]
    Answer(String),
    /// No answer in time.
    #[error("the service did not answer in time")]
    Timeout,
}

/// Sends requests to services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    client: Client,
    allowed_hosts: Arc<[String]>,
    max_answer: usize,
    config: Arc<EgressConfig>,
}

impl Egress {
    /// From the settings.
    ///
    /// # Errors
    /// [`Broken`] when they cannot be used.
    pub fn new(config: &EgressConfig) -> Result<Self, Broken> {
        for host in &config.allowed_hosts {
            if check_service(host.trim_start_matches('.')).is_err() {
                return Err(Broken(format!("`{host}` in `egress.allowed_hosts` is not a host name")));
            }
        }
        let builder = guarded(config)?
            .timeout(config.timeout)
            .connect_timeout(config.timeout.min(Duration::from_secs(10)))
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("tenantry/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|error| Broken(format!("requests to services: {error}")))?;
        let allowed_hosts = config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { client, allowed_hosts, max_answer: config.max_answer, config: Arc::new(config.clone()) })
    }

    /// The beginning of a client for addresses that somebody else has given: HTTPS only, public addresses only, no redirects. It has no
    /// time limits yet. Whoever uses it asks [`check_service`] and [`admits`](Self::admits) first.
    ///
    /// # Errors
    /// [`Broken`] when the settings cannot be used.
    pub fn guarded_client(&self) -> Result<ClientBuilder, Broken> {
        guarded(&self.config)
    }

    /// How long a request may take, to the end of its answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Whether a credential may be for this service.
    ///
    /// # Errors
    /// [`EgressError::Refused`].
    pub fn admits(&self, service: &str) -> Result<(), EgressError> {
        let host = service.rsplit_once(':').map_or(service, |(host, _)| host).to_ascii_lowercase();
        let listed = |entry: &String| match entry.strip_prefix('.') {
            Some(_) => host.ends_with(entry.as_str()),
            None => host == *entry,
        };
        if self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(listed) {
            return Ok(());
        }
        Err(EgressError::Refused(format!("`{host}` is not on the server's list of hosts")))
    }
}

/// Whether a request was not sent because its host leads to an address that is not public.
#[must_use]
pub fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<resolve::NotPublic>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn guarded(config: &EgressConfig) -> Result<ClientBuilder, Broken> {
    let builder = Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .dns_resolver(Arc::new(resolve::Guarded::new(config)));
    #[cfg(feature = "negative-controls")]
    let builder = trusting(builder, config)?;
    Ok(builder)
}

#[cfg(feature = "negative-controls")]
fn trusting(builder: ClientBuilder, config: &EgressConfig) -> Result<ClientBuilder, Broken> {
    let Some(pem) = &config.laboratory.trust else { return Ok(builder) };
    let certificate = reqwest::Certificate::from_pem(pem).map_err(|error| Broken(error.to_string()))?;
    Ok(builder.tls_certs_only([certificate]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(hosts: &[&str]) -> Egress {
        let allowed_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Egress::new(&EgressConfig { allowed_hosts, ..EgressConfig::default() }).unwrap()
    }

    #[tokio::test]
    async fn the_list_of_hosts_is_by_name_or_by_domain() {
        assert!(egress(&[]).admits("api.example.com").is_ok());
        let listed = egress(&["api.example.com", ".crm.example"]);
        for fine in ["api.example.com", "API.example.com:8443", "eu.crm.example"] {
            assert!(listed.admits(fine).is_ok(), "{fine}");
        }
        for other in ["example.com", "xapi.example.com", "crm.example", "crm.example.evil.test", "evilcrm.example"] {
            assert!(matches!(listed.admits(other), Err(EgressError::Refused(_))), "{other}");
        }
        let broken = EgressConfig { allowed_hosts: vec!["10.0.0.1".to_owned()], ..EgressConfig::default() };
        assert!(Egress::new(&broken).is_err());
    }
}
