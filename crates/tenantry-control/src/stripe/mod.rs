//! Stripe: its settings, its signatures, its events. What follows from an event is the provisioner's.

mod event;
mod settings;
mod signature;

pub(crate) use event::{Taken, read};
pub use settings::{CancelledAction, PastDueAction, StripeSettings};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tenantry_core::{Clock, SystemClock};
use tenantry_http::{Problem, codes};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// A file of a secret cannot be read.
    #[error("cannot read the signing secret `{}`: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no secret.
    #[error("`{}` holds no signing secret: Stripe's begin with `whsec_`", .0.display())]
    NoSecret(PathBuf),
}

/// What is needed to believe a webhook of Stripe. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    inner: Arc<Inner>,
}

struct Inner {
    secrets: Vec<SecretString>,
    tolerance: Duration,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stripe({} secrets)", self.inner.secrets.len())
    }
}

impl Stripe {
    /// With the secrets of an endpoint; several while one is rotated. Without any, webhooks are refused.
    #[must_use]
    pub fn new(secrets: Vec<SecretString>, tolerance: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner { secrets, tolerance, clock }) }
    }

    /// Without secrets: webhooks are refused.
    #[must_use]
    pub fn off() -> Self {
        Self::new(Vec::new(), Duration::ZERO, Arc::new(SystemClock))
    }

    /// With the secrets in the files that the settings name.
    ///
    /// # Errors
    /// [`StripeError`].
    pub fn load(settings: &StripeSettings, clock: Arc<dyn Clock>) -> Result<Self, StripeError> {
        let read = |path: &PathBuf| {
            let unreadable = |source| StripeError::Unreadable { path: path.clone(), source };
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            match text.trim() {
                secret if secret.starts_with("whsec_") => Ok(SecretString::from(secret.to_owned())),
                _ => Err(StripeError::NoSecret(path.clone())),
            }
        };
        let secrets = settings.webhook_secret_files.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self::new(secrets, settings.tolerance, clock))
    }

    /// Whether a body comes from Stripe, just now.
    pub(crate) fn check(&self, header: Option<&str>, body: &[u8]) -> Result<(), Problem> {
        let Inner { secrets, tolerance, clock } = &*self.inner;
        let Some(header) = header else {
            return Err(
                Problem::of(&codes::INVALID_SIGNATURE).detail("`Stripe-Signature` is missing, or there are several")
            );
        };
        if secrets.is_empty() {
            return Err(Problem::of(&codes::STRIPE_NOT_CONFIGURED).detail("the server takes no webhooks of Stripe"));
        }
        signature::check(header, body, secrets, *tolerance, clock.now()).map_err(|why| {
            tracing::warn!(target: "tenantry::billing", reason = %why, "a webhook is refused");
            Problem::of(&codes::INVALID_SIGNATURE).detail(why.to_string())
        })
    }
}
