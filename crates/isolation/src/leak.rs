use std::fmt;

/// Something a tenant saw, changed or holds that it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The check that found it.
    pub check: &'static str,
    /// What, in one line.
    pub what: String,
}

impl Leak {
    /// A leak.
    #[must_use]
    pub fn new(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

fn lines(leaks: &[Leak]) -> String {
    leaks.iter().map(|leak| format!("  {leak}\n")).collect()
}

/// The assertion of a test.
///
/// # Panics
/// With a line for each leak.
#[track_caller]
pub fn assert_none(leaks: &[Leak]) {
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), lines(leaks));
}

/// The assertion of a negative control: the check must have found what it is there for.
///
/// # Panics
/// When no leak holds the text.
#[track_caller]
pub fn assert_leak(leaks: &[Leak], part: &str) {
    assert!(
        leaks.iter().any(|leak| leak.to_string().contains(part)),
        "with the defence off the check must find `{part}`, but found:\n{}",
        lines(leaks)
    );
}
