//! Who is calling: the TCP peer, or what a trusted proxy says about the caller.
//!
//! `X-Forwarded-For`, `-Host` and `-Proto` are read only when the peer itself is a configured proxy, and always
//! from the right: the rightmost value is the one our own proxy wrote, everything further left is hearsay.
//! RFC 7239's `Forwarded` is not read at all, so a proxy that only sets that one must be configured to set these.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// More hops than any real chain has; the rest of a longer list is not looked at.
const MAX_HOPS: usize = 32;

/// The networks whose peers may speak through `X-Forwarded-*`. Empty by default: nobody may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustedProxies(Vec<IpNet>);

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The caller's address; `None` where the server was mounted without connection info.
    pub ip: Option<IpAddr>,
    /// Whether the caller spoke HTTPS to a trusted proxy. This server itself speaks HTTP.
    pub https: bool,
    /// Whether the peer is a trusted proxy, whose `X-Forwarded-Host` then counts as the host.
    pub via_proxy: bool,
}

impl TrustedProxies {
    /// Takes networks such as `10.0.0.0/8` and `fd00::/8`.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Reads the caller from the TCP peer and, where it is trusted, from its headers.
    #[must_use]
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Client {
        // a listener on `::` reports IPv4 peers as mapped addresses
        let peer = peer.map(|address| address.ip().to_canonical());
        match peer {
            Some(ip) if self.trusts(ip) => Client {
                ip: Some(self.rightmost_untrusted(ip, headers)),
                https: last_value(headers, &FORWARDED_PROTO).is_some_and(|p| p.eq_ignore_ascii_case("https")),
                via_proxy: true,
            },
            ip => Client { ip, https: false, via_proxy: false },
        }
    }

    /// Walks the chain from our own proxy outwards and stops at the first address that is not ours, or
    /// where the chain stops making sense.
    fn rightmost_untrusted(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        for hop in values_from_the_right(headers, &FORWARDED_FOR).take(MAX_HOPS) {
            let Some(ip) = hop.and_then(parse_hop) else { break };
            client = ip;
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }
}

/// The host a trusted proxy was asked for, when it says so.
pub(crate) fn forwarded_host(headers: &HeaderMap) -> Option<&str> {
    last_value(headers, &FORWARDED_HOST)
}

fn last_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    values_from_the_right(headers, name).next().flatten()
}

/// The elements of a list header over all its lines, last one first; `None` for a line that is not text.
fn values_from_the_right<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'h str>> {
    headers.get_all(name).into_iter().rev().flat_map(|line| {
        let text = line.to_str().ok();
        let broken = text.is_none().then_some(None);
        broken.into_iter().chain(text.into_iter().flat_map(|t| t.rsplit(',')).map(|value| Some(value.trim())))
    })
}

/// An address as proxies write it: bare, with a port, IPv6 in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn ip_of(peer: &str, lines: &[&str]) -> String {
        let pairs: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        proxies().client(Some(peer.parse().unwrap()), &headers(&pairs)).ip.unwrap().to_string()
    }

    #[test]
    fn a_strangers_headers_are_ignored() {
        let map =
            headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "a.b")]);
        let client = proxies().client(Some("203.0.113.9:1".parse().unwrap()), &map);
        assert_eq!(client, Client { ip: Some("203.0.113.9".parse().unwrap()), https: false, via_proxy: false });
        let nobody = TrustedProxies::default().client(Some("10.0.0.1:1".parse().unwrap()), &map);
        assert!(!nobody.via_proxy);
        assert_eq!(proxies().client(None, &map), Client { ip: None, https: false, via_proxy: false });
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        assert_eq!(ip_of("10.0.0.1:1", &["1.1.1.1, 2.2.2.2, 10.0.0.7"]), "2.2.2.2");
        assert_eq!(ip_of("10.0.0.1:1", &["1.1.1.1", "2.2.2.2", "10.0.0.7"]), "2.2.2.2");
        assert_eq!(ip_of("10.0.0.1:1", &["10.9.9.9, 10.0.0.7"]), "10.9.9.9");
        assert_eq!(ip_of("10.0.0.1:1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_broken_chain_ends_at_the_last_address_we_can_believe() {
        assert_eq!(ip_of("10.0.0.1:1", &["1.1.1.1, unknown, 10.0.0.7"]), "10.0.0.7");
        assert_eq!(ip_of("10.0.0.1:1", &["1.1.1.1, "]), "10.0.0.1");
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", "1.1.1.1".parse().unwrap());
        map.append("x-forwarded-for", HeaderValue::from_bytes(b"\xff").unwrap());
        let client = proxies().client(Some("10.0.0.1:1".parse().unwrap()), &map);
        assert_eq!(client.ip, Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(ip_of("10.0.0.1:1", &["192.0.2.1:5555"]), "192.0.2.1");
        assert_eq!(ip_of("10.0.0.1:1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(ip_of("10.0.0.1:1", &["[2001:db8::2]"]), "2001:db8::2");
        assert_eq!(ip_of("[::ffff:10.0.0.1]:1", &["::ffff:192.0.2.1"]), "192.0.2.1");
        assert_eq!(ip_of("[fd00::1]:1", &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn host_and_scheme_come_from_the_right() {
        let map = headers(&[("x-forwarded-host", "evil.test, acme.example.com"), ("x-forwarded-proto", "http,HTTPS")]);
        assert_eq!(forwarded_host(&map), Some("acme.example.com"));
        assert!(proxies().client(Some("10.0.0.1:1".parse().unwrap()), &map).https);
    }

    proptest! {
        #[test]
        fn any_header_yields_some_address(lines in proptest::collection::vec("[ -~]{0,60}", 0..5)) {
            let pairs: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line.as_str())).collect();
            prop_assert!(proxies().client(Some("10.0.0.1:1".parse().unwrap()), &headers(&pairs)).ip.is_some());
        }

        #[test]
        fn what_the_caller_wrote_never_wins(spoofed in "[ -~]{0,60}", real: [u8; 4]) {
            let real = IpAddr::from(real);
            prop_assume!(!proxies().trusts(real));
            prop_assert_eq!(ip_of("10.0.0.1:1", &[&format!("{spoofed},{real}")]), real.to_string());
        }
    }
}
