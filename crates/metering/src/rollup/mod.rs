//! The sums of hours and days, made anew from the calls.
//!
//! Who writes calls marks their hours in the same transaction; a job takes marked hours and makes their sums from all calls that there are,
//! and the day's from the hours'. So it does not matter how often a call was delivered, or how late: sums are never added to.
//!
//! No call is left out, however shipping and summing meet. A mark is read before the calls are, and removed after, in one transaction
//! with the sums, and only as it was read. A call that was committed too late to be summed has its mark written
//!
//! * before the removal: then the mark is another one than was read, and stays;
//! * at the same time: then the removal waits for it, and sees the same;
//! * after the removal: then it is a new mark, written when the sums are there.
//!
//! Shipping never waits for sums to be made, only for that last statement and the commit.
//!
//! Sums of an hour are made by one at a time: whoever makes them holds the day's row in `rolled_days`. Others pass over it and take another hour, so any number of
//! servers may do this.

pub(crate) mod day;
pub mod histogram;
mod hour;
mod job;
mod outcomes;
mod settings;

pub use hour::Rolled;
pub use job::{Rollup, Tally};
pub use settings::RollupSettings;

pub use crate::store::rollup::{Hour, Lag};

#[cfg(test)]
mod tests;
