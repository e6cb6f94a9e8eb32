/// How much a tenant has been asked for lately.
///
/// A use counts one when it happens and half of that after each second. Kept as `time + log2(uses)` with the time in
/// seconds, so that two of them compare without looking at the clock: both cool at the same pace.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Heat(f64);

impl Heat {
    /// Never asked for.
    pub(super) const COLD: Self = Self(f64::NEG_INFINITY);

    /// One use more.
    #[must_use]
    pub(super) fn used(self, now: f64) -> Self {
        Self(now + (1.0 + self.uses(now)).log2())
    }

    /// The uses that still count.
    pub(super) fn uses(self, now: f64) -> f64 {
        (self.0 - now).exp2()
    }

    /// Whether this is hotter by `factor` or more.
    pub(super) fn exceeds(self, other: Self, factor: f64) -> bool {
        self.0 >= other.0 + factor.log2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_add_up_and_fade() {
        let twice = Heat::COLD.used(10.0).used(10.0);
        assert!((twice.uses(10.0) - 2.0).abs() < 1e-9);
        assert!((twice.uses(11.0) - 1.0).abs() < 1e-9);
        assert!(twice.exceeds(Heat::COLD.used(10.0), 2.0));
        assert!(!twice.exceeds(Heat::COLD.used(11.0), 2.0));
        assert!(Heat::COLD.used(0.0).exceeds(Heat::COLD, 1000.0));
    }
}
