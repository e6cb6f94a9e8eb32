//! The sums of hours and days.
