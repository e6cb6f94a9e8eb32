//! Failed credentials, by the address they came from: whoever guesses gets slow.

use std::net::IpAddr;
use std::time::Duration;

use crate::rate::Rate;
use crate::rate_local::Local;

/// A bucket for each address, from which failures take. Each server counts by itself.
pub(crate) struct Guesses {
    rate: Option<Rate>,
    addresses: Local<IpAddr>,
}

impl Guesses {
    /// None are limited where the number is 0.
    pub(crate) fn new(per_minute: u32, capacity: usize) -> Self {
        let rate = (per_minute > 0).then_some(Rate { per_minute });
        Self { rate, addresses: Local::new(if rate.is_some() { capacity } else { 1 }) }
    }

    /// Whether the address has used up its failures: how long until it has one again.
    pub(crate) fn exhausted(&self, address: IpAddr, now: i64) -> Option<Duration> {
        let (rate, address) = (self.rate?, network(address));
        let full_at = self.addresses.shard(&address).get(&address).copied()?;
        let verdict = rate.meet(full_at - now);
        (!verdict.allows()).then(|| verdict.wait())
    }

    /// Counts a failure. How long to wait, when it is one too many.
    pub(crate) fn failed(&self, address: IpAddr, now: i64) -> Option<Duration> {
        let (rate, address) = (self.rate?, network(address));
        let mut shard = self.addresses.shard(&address);
        let full_at = shard.get(&address).copied().unwrap_or(now);
        let verdict = rate.meet(full_at - now);
        if !verdict.allows() {
            return Some(verdict.wait());
        }
        shard.put(address, now + verdict.ahead);
        None
    }
}

/// An IPv6 customer has a network of 64 bits at least, and as many addresses as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let guesses = Guesses::new(3, 100);
        let (guesser, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(guesses.exhausted(guesser, 0), None);
            assert_eq!(guesses.failed(guesser, 0), None);
        }
        assert_eq!(guesses.exhausted(guesser, 0), Some(Duration::from_secs(20)));
        assert_eq!(guesses.failed(guesser, 0), Some(Duration::from_secs(20)));
        assert_eq!(guesses.exhausted(other, 0), None);
        assert_eq!(guesses.exhausted(guesser, 20_000_000), None, "one more after a third of a minute");
        assert_eq!(guesses.failed(guesser, 20_000_000), None);
        assert!(guesses.failed(guesser, 20_000_000).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_address_is_ipv4() {
        let guesses = Guesses::new(1, 100);
        assert_eq!(guesses.failed("2001:db8::1".parse().unwrap(), 0), None);
        assert!(guesses.exhausted("2001:db8::ffff:2".parse().unwrap(), 0).is_some());
        assert!(guesses.exhausted("2001:db8:0:1::1".parse().unwrap(), 0).is_none());
        assert_eq!(guesses.failed("::ffff:192.0.2.1".parse().unwrap(), 0), None);
        assert!(guesses.exhausted("192.0.2.1".parse().unwrap(), 0).is_some());
    }

    #[test]
    fn zero_is_no_limit() {
        let guesses = Guesses::new(0, 100);
        let address = "192.0.2.1".parse().unwrap();
        assert!((0..1000).all(|_| guesses.failed(address, 0).is_none()));
    }

    #[test]
    fn memory_is_bounded() {
        let guesses = Guesses::new(1, 160);
        for n in 0..100_000_u32 {
            guesses.failed(IpAddr::V4(n.into()), 0);
        }
        let kept = (0..100_000_u32).filter(|n| guesses.exhausted(IpAddr::V4((*n).into()), 0).is_some()).count();
        assert!(kept <= 160, "{kept}");
    }
}
