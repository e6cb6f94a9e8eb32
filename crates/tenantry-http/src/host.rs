//! Host names as requests carry them, and the base domains under which tenants have subdomains.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use tenantry_core::Slug;

/// A text that is not a host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or IP address with an optional port")]
pub struct HostError;

/// A host without its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host<'a> {
    /// A DNS name in lower case without a trailing dot.
    Name(Cow<'a, str>),
    /// An address; it never names a tenant.
    Ip(IpAddr),
}

impl<'a> Host<'a> {
    /// Parses `host[:port]` as in a `Host` header (RFC 9110 section 7.2).
    ///
    /// Names in the numeric forms that some resolvers take for an address (`127.1`, `0x7f.1`) are
    /// refused rather than treated as names.
    pub fn parse(text: &'a str) -> Result<Self, HostError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(HostError)?;
            check_port(port)?;
            return address.parse::<Ipv6Addr>().map(|ip| Self::Ip(ip.to_canonical())).map_err(|_| HostError);
        }
        let name = match text.split_once(':') {
            Some((name, port)) => {
                check_port_digits(port)?;
                name
            }
            None => text,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Ok(ip) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        if name.len() > 253 || !name.split('.').all(is_label) || ends_in_number(name) {
            return Err(HostError);
        }
        let upper = name.bytes().any(|b| b.is_ascii_uppercase());
        Ok(Self::Name(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }))
    }
}

fn check_port(text: &str) -> Result<(), HostError> {
    if text.is_empty() { Ok(()) } else { text.strip_prefix(':').ok_or(HostError).and_then(check_port_digits) }
}

fn check_port_digits(digits: &str) -> Result<(), HostError> {
    let fine = digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    if fine { Ok(()) } else { Err(HostError) }
}

fn is_label(label: &str) -> bool {
    // the underscore is no host name's, but container networks use it
    (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X")
}

/// What a host name says about the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostClaim {
    /// A subdomain directly below a base domain.
    Tenant(Slug),
    /// The platform's own: a base domain itself, a reserved label, or something deeper. Names nobody.
    Platform,
    /// Under no base domain: perhaps a tenant's custom host.
    Foreign,
}

/// The domains directly below which every tenant has its subdomain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct BaseDomains(Vec<String>);

impl BaseDomains {
    /// Takes domains such as `app.example.com`; an address or anything with a port is refused.
    pub fn new<I: IntoIterator<Item = S>, S: AsRef<str>>(domains: I) -> Result<Self, BaseDomainError> {
        let mut list = Vec::new();
        for domain in domains {
            let text = domain.as_ref();
            match Host::parse(text) {
                Ok(Host::Name(name)) if !text.contains(':') => list.push(name.into_owned()),
                _ => return Err(BaseDomainError(text.chars().take(80).collect())),
            }
        }
        // the longest first: with `example.com` and `eu.example.com`, the host `eu.example.com` is no tenant
        list.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        list.dedup();
        Ok(Self(list))
    }

    /// Reads a host name (lower case, no trailing dot) against the base domains.
    #[must_use]
    pub fn claim(&self, name: &str) -> HostClaim {
        for base in &self.0 {
            let Some(rest) = name.strip_suffix(base.as_str()) else { continue };
            if rest.is_empty() {
                return HostClaim::Platform;
            }
            if let Some(label) = rest.strip_suffix('.') {
                return label.parse().map_or(HostClaim::Platform, HostClaim::Tenant);
            }
        }
        HostClaim::Foreign
    }

    /// The domains, longest first.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// A base domain that is not a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a base domain: give a DNS name without port, such as `app.example.com`")]
pub struct BaseDomainError(String);

impl TryFrom<Vec<String>> for BaseDomains {
    type Error = BaseDomainError;
    fn try_from(domains: Vec<String>) -> Result<Self, BaseDomainError> {
        Self::new(domains)
    }
}

impl From<BaseDomains> for Vec<String> {
    fn from(domains: BaseDomains) -> Self {
        domains.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> String {
        match Host::parse(text) {
            Ok(Host::Name(name)) => name.into_owned(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names_lose_port_dot_and_case() {
        assert_eq!(name("Acme.App.Example.COM:8443"), "acme.app.example.com");
        assert_eq!(name("acme.example.com."), "acme.example.com");
        assert_eq!(name("acme.example.com.:80"), "acme.example.com");
        assert_eq!(name("localhost:"), "localhost");
    }

    #[test]
    fn addresses_are_addresses() {
        for (text, ip) in [
            ("127.0.0.1", "127.0.0.1"),
            ("10.1.2.3:8080", "10.1.2.3"),
            ("[::1]", "::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ] {
            assert_eq!(Host::parse(text), Ok(Host::Ip(ip.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "user@host",
            "host:port",
            "host:99999",
            "host:80:80",
            "[::1",
            "[::1]x",
            "[zz]",
            "::1",
            "127.1",
            "0x7f.0x1",
            "2130706433",
            "ä.example.com",
            "a\0b",
            "a,b",
            "a%2eb",
            &"a".repeat(64),
            &"a.".repeat(128),
        ] {
            assert_eq!(Host::parse(bad), Err(HostError), "{bad:?}");
        }
    }

    #[test]
    fn a_tenant_is_one_label_directly_below_a_base_domain() {
        let bases = BaseDomains::new(["Example.com", "app.example.com", "eu.example.com."]).unwrap();
        let tenant = |slug: &str| HostClaim::Tenant(slug.parse().unwrap());
        assert_eq!(bases.claim("acme.app.example.com"), tenant("acme"));
        assert_eq!(bases.claim("acme.example.com"), tenant("acme"));
        for platform in [
            "example.com",
            "app.example.com",
            "eu.example.com",
            "www.example.com",
            "a.b.example.com",
            "foo_bar.example.com",
            "-x.example.com",
            "api.app.example.com",
        ] {
            assert_eq!(bases.claim(platform), HostClaim::Platform, "{platform}");
        }
        for foreign in ["badexample.com", "example.com.evil.net", "acme.example.org", "com", "localhost"] {
            assert_eq!(bases.claim(foreign), HostClaim::Foreign, "{foreign}");
        }
        assert_eq!(BaseDomains::default().claim("acme.example.com"), HostClaim::Foreign);
    }

    #[test]
    fn base_domains_are_checked() {
        for bad in ["127.0.0.1", "", "example.com:80", "https://example.com", "*.example.com"] {
            assert!(BaseDomains::new([bad]).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_yields_clean_names(text in ".{0,300}") {
            if let Ok(Host::Name(name)) = Host::parse(&text) {
                prop_assert!(!name.is_empty() && name.len() <= 253);
                prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')));
                prop_assert_eq!(Host::parse(&name), Ok(Host::Name(name.as_ref().into())));
            }
        }

        #[test]
        fn hosts_with_ports_parse_as_without(host in "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9-]{0,10}){0,3}", port: u16) {
            let text = format!("{host}:{port}");
            prop_assert_eq!(Host::parse(&text), Host::parse(&host));
        }

        #[test]
        fn a_claimed_slug_is_the_whole_first_label(label in "[a-zA-Z0-9_.-]{1,20}") {
            let bases = BaseDomains::new(["base.test"]).unwrap();
            let text = format!("{label}.base.test");
            if let Ok(Host::Name(name)) = Host::parse(&text)
                && let HostClaim::Tenant(slug) = bases.claim(&name)
            {
                prop_assert_eq!(slug.as_str(), label.to_ascii_lowercase());
            }
        }
    }
}
