//! Durations in configuration files: a number of seconds, fractions allowed. For `#[serde(with = "…")]`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes a duration as seconds.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}

/// Reads a duration from seconds.
///
/// # Errors
/// For what is not a number, negative or too large.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let value = f64::deserialize(from)?;
    Duration::try_from_secs_f64(value)
        .map_err(|_| serde::de::Error::custom(format_args!("`{value}` is not a number of seconds")))
}
