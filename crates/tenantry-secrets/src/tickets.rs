use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret as _;
use tenantry_core::Slug;
use tenantry_postgres::DatabaseConfig;

const RANDOM: usize = 32;

/// Makes texts that a stranger carries and that lead back to a tenant: sealed with a key of the installation, so that one that
/// was not given out here is known at once, and nobody reads in it whose it is.
///
/// A ticket proves only that this installation has made it. What it is good for, for how long and how often, is for whoever keeps
/// its digest.
pub struct Tickets {
    key: RandomizedNonceKey,
    purpose: &'static str,
}

/// A ticket just made.
pub struct Ticket {
    /// The text to give out: characters of base64url.
    pub text: String,
    /// By which it is known again; the text itself is not kept.
    pub digest: String,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.purpose)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

impl Tickets {
    /// Tickets for one purpose; one for another is none.
    ///
    /// # Panics
    /// Never: the derived key has the length that the cipher takes.
    #[must_use]
    pub fn new(database: &DatabaseConfig, purpose: &'static str) -> Self {
        let key = database.key_for(purpose);
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose_secret());
        Self { key: key.expect("a derived key has 32 bytes"), purpose }
    }

    /// A new ticket of a tenant.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn issue(&self, tenant: &Slug) -> Ticket {
        let mut buffer = vec![0_u8; RANDOM];
        rand::fill(&mut buffer).expect("the operating system gives randomness");
        buffer.extend_from_slice(tenant.as_str().as_bytes());
        let nonce = self.key.seal_in_place_append_tag(Aad::from(self.purpose), &mut buffer);
        let nonce = nonce.expect("a few bytes are sealed");
        let text = URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &buffer].concat());
        let digest = digested(&text);
        Ticket { text, digest }
    }

    /// Whose ticket it is, and its digest; `None` for what was not made here.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<(Slug, String)> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(self.purpose), sealed).ok()?;
        let slug = std::str::from_utf8(opened.get(RANDOM..)?).ok()?;
        Some((Slug::from_registry(slug).ok()?, digested(text)))
    }
}

fn digested(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use tenantry_postgres::ClusterSecret;

    use super::*;

    fn tickets(secret: &str, purpose: &'static str) -> Tickets {
        let secret = ClusterSecret::new(secret.repeat(4).into()).unwrap();
        Tickets::new(&DatabaseConfig::new("postgres://localhost/x", secret).unwrap(), purpose)
    }

    #[test]
    fn a_ticket_is_known_by_who_made_it_for_its_purpose() {
        let acme: Slug = "acme".parse().unwrap();
        let ours = tickets("0123456789", "authorization");
        let ticket = ours.issue(&acme);
        assert_eq!(ours.read(&ticket.text), Some((acme.clone(), ticket.digest.clone())));
        assert_ne!(ours.issue(&acme).text, ticket.text);
        assert!(!ticket.digest.contains(&ticket.text) && ticket.digest.len() == 64);
        assert_eq!(tickets("0123456789", "invitation").read(&ticket.text), None);
        assert_eq!(tickets("9876543210", "authorization").read(&ticket.text), None);
        let bytes = URL_SAFE_NO_PAD.decode(&ticket.text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.read(&URL_SAFE_NO_PAD.encode(bent)), None);
        }
        for wrong in ["", "x", "ä", "AAAA", &"A".repeat(500)] {
            assert_eq!(ours.read(wrong), None, "{wrong}");
        }
    }
}
