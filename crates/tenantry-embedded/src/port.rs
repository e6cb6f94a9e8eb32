use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use rand::Rng as _;

use crate::error::EmbeddedError;

/// Whether a server could listen on this port of 127.0.0.1 now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A port that is free now and was not `tried` before.
///
/// It lies below the range from which the kernel takes the local ports of outgoing connections. From
/// within that range, a client that keeps reconnecting to a stopped server can be given the server's
/// own port, connect to itself, and keep the server from coming back.
pub(crate) fn pick(tried: &HashSet<u16>) -> Result<u16, EmbeddedError> {
    let range = range(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default());
    let mut rng = rand::rng();
    (0..500)
        .map(|_| rng.random_range(range.clone()))
        .find(|port| !tried.contains(port) && is_free(*port))
        .ok_or(EmbeddedError::NoFreePort)
}

fn range(ephemeral: &str) -> Range<u16> {
    const LOWEST: u16 = 15_000;
    let mut bounds = ephemeral.split_whitespace().map(str::parse::<u16>);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(low)), Some(Ok(_))) if low > LOWEST + 1_000 => LOWEST..low,
        (Some(Ok(_)), Some(Ok(high))) if high < u16::MAX - 1_000 => high + 1..u16::MAX,
        _ => LOWEST..32_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_out_of_the_ephemeral_range() {
        assert_eq!(range("32768\t60999\n"), 15_000..32_768);
        assert_eq!(range("10000\t50000\n"), 50_001..65_535);
        assert_eq!(range("1024\t65535\n"), 15_000..32_000);
        assert_eq!(range(""), 15_000..32_000);
    }

    #[test]
    fn a_listening_port_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }
}
