//! Places in lists that can be sorted: what a cursor holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::checks::is_sane_instant;
use crate::{Error, List};

/// The orders that a list can be shown in. List and order are inside the cursor, so a place in one is not taken for a place
/// in another.
pub trait Order: Copy {
    /// The list.
    const LIST: List;

    /// Tells the orders of the list apart.
    fn code(self) -> u8;
}

/// What a row is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Nothing: the column is NULL.
    Nothing,
    /// An instant, in whole microseconds as the database keeps it.
    Time(DateTime<Utc>),
    /// A rank.
    Number(i32),
    /// A text.
    Text(String),
}

/// The last row of a page: its key in the list's order, and its id, which decides between equal keys. The next page starts
/// behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the row is sorted by.
    pub key: Key,
    /// The row's id.
    pub id: Uuid,
}

impl Place {
    /// The opaque text of this place. It carries no tenant: a cursor is only a place in whatever list is read with it.
    #[must_use]
    pub fn encode<O: Order>(&self, order: O) -> String {
        let mut bytes = vec![O::LIST.tag(), order.code()];
        bytes.extend_from_slice(self.id.as_bytes());
        match &self.key {
            Key::Nothing => bytes.push(b'-'),
            Key::Time(at) => {
                bytes.push(b't');
                bytes.extend_from_slice(&at.timestamp_micros().to_be_bytes());
            }
            Key::Number(number) => {
                bytes.push(b'n');
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Key::Text(text) => {
                bytes.push(b's');
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Place::encode`] wrote for the same list and order.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`].
    pub fn decode<O: Order>(text: &str, order: O) -> Result<Self, Error> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let (head, rest) = bytes.split_first_chunk::<2>()?;
            let (id, rest) = rest.split_first_chunk::<16>()?;
            let (kind, key) = rest.split_first()?;
            let key = Key::read(*kind, key)?;
            (*head == [O::LIST.tag(), order.code()]).then_some(Self { key, id: Uuid::from_bytes(*id) })
        };
        read().ok_or(Error::InvalidCursor)
    }

    /// The key as a parameter, where it is an instant.
    #[must_use]
    pub fn time(&self) -> Option<DateTime<Utc>> {
        if let Key::Time(at) = self.key { Some(at) } else { None }
    }

    /// The key as a parameter, where it is a rank.
    #[must_use]
    pub fn number(&self) -> Option<i32> {
        if let Key::Number(number) = self.key { Some(number) } else { None }
    }

    /// The key as a parameter, where it is a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Key::Text(text) = &self.key { Some(text) } else { None }
    }
}

impl Key {
    /// A key that some row might have: nothing that PostgreSQL would refuse as a parameter.
    fn read(kind: u8, bytes: &[u8]) -> Option<Self> {
        match kind {
            b'-' => bytes.is_empty().then_some(Self::Nothing),
            b't' => {
                let at = DateTime::from_timestamp_micros(i64::from_be_bytes(bytes.try_into().ok()?))?;
                is_sane_instant(at).then_some(Self::Time(at))
            }
            b'n' => Some(Self::Number(i32::from_be_bytes(bytes.try_into().ok()?))),
            b's' => {
                let text = std::str::from_utf8(bytes).ok()?;
                (!text.contains('\0')).then(|| Self::Text(text.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::AgentOrder;
    use crate::task::TaskOrder;

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Nothing),
            (0_i64..253_402_300_799_999_999).prop_map(|n| Key::Time(DateTime::from_timestamp_micros(n).unwrap())),
            any::<i32>().prop_map(Key::Number),
            "[^\0]{0,40}".prop_map(Key::Text),
        ]
    }

    #[test]
    fn a_cursor_belongs_to_one_order_of_one_list() {
        let place = Place { key: Key::Time(DateTime::UNIX_EPOCH), id: Uuid::nil() };
        for order in AgentOrder::ALL {
            let cursor = place.encode(*order);
            for other in AgentOrder::ALL {
                assert_eq!(Place::decode(&cursor, *other).is_ok(), order == other, "{order} as {other}");
            }
            for other in TaskOrder::ALL {
                assert!(Place::decode(&cursor, *other).is_err(), "{order} as tasks {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn cursors_round_trip(key in keys(), id in any::<u128>()) {
            let place = Place { key, id: Uuid::from_u128(id) };
            let order = TaskOrder::Urgent;
            prop_assert_eq!(Place::decode(&place.encode(order), order).unwrap(), place);
        }

        #[test]
        fn any_bytes_are_a_place_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut whole = vec![List::Tasks.tag(), TaskOrder::Newest.code()];
            whole.extend(&bytes);
            if let Ok(place) = Place::decode(&URL_SAFE_NO_PAD.encode(whole), TaskOrder::Newest) {
                prop_assert!(place.time().is_none_or(is_sane_instant));
                prop_assert!(place.text().is_none_or(|text| !text.contains('\0')));
            }
            let _ = Place::decode(&String::from_utf8_lossy(&bytes), TaskOrder::Newest);
        }
    }
}
