use std::fmt::Display;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

/// Values of a query parameter, separated by commas: `status=pending,blocked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Several<T>(pub(crate) Vec<T>);

impl<'de, T> Deserialize<'de> for Several<T>
where
    T: FromStr<Err: Display>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self).map_err(D::Error::custom)
    }
}

/// No parameter filters nothing, as an empty list does.
pub(crate) fn all_of<T>(given: Option<Several<T>>) -> Vec<T> {
    given.map(|Several(values)| values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::TaskStatus;

    #[test]
    fn words_are_separated_by_commas() {
        let read = |text: &str| serde_json::from_value::<Several<TaskStatus>>(json!(text)).map(|Several(words)| words);
        assert_eq!(read("pending").unwrap(), [TaskStatus::Pending]);
        assert_eq!(read("pending,blocked").unwrap(), [TaskStatus::Pending, TaskStatus::Blocked]);
        for bad in ["", "pending,", "pending, blocked", "done"] {
            assert!(read(bad).unwrap_err().to_string().contains("`pending`, `in_progress`"), "{bad:?}");
        }
    }
}
