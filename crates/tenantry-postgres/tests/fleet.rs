//! Migrations of a fleet: everybody once, in order, and who failed can be told and tried again.
#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fleet {
    pub(crate) mod stage;

    mod disk;
    mod locks;
    mod runs;
    mod serving;
}
