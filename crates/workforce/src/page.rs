use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use tenantry_http::Limit;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Error;
use crate::checks::is_sane_instant;
use crate::fields::{self, Fields, Part};
use crate::place::{Order, Place};

/// A list that can be paged. Its tag is inside the cursor, so one list's cursor is not taken for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Agents.
    Agents,
    /// Tasks.
    Tasks,
    /// Provider accounts by age.
    ProviderAccounts,
    /// Credentials by age.
    Credentials,
    /// Schedules.
    Schedules,
    /// What a task depends on.
    Dependencies,
    /// Messages.
    Messages,
    /// Threads, by their newest message.
    Threads,
    /// The messages of one thread, by age.
    Thread,
    /// The activity log.
    Activity,
    /// Sessions.
    Sessions,
    /// Calls to providers, by the time at which they began.
    ProviderCalls,
    /// Members by age.
    Members,
    /// API keys by age.
    Keys,
    /// Calculations of savings by age.
    RoiCalculations,
    /// Monthly statements, by their months.
    Statements,
    /// Price overrides by age.
    PriceOverrides,
    /// Budgets by age.
    Budgets,
}

impl List {
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Agents => b'a',
            Self::Tasks => b't',
            Self::ProviderAccounts => b'p',
            Self::Credentials => b'k',
            Self::Schedules => b's',
            Self::Dependencies => b'd',
            Self::Messages => b'm',
            Self::Threads => b'h',
            Self::Thread => b'c',
            Self::Activity => b'l',
            Self::Sessions => b'r',
            Self::ProviderCalls => b'e',
            Self::Members => b'#',
            Self::Keys => b'*',
            Self::RoiCalculations => b'o',
            Self::Statements => b'=',
            Self::PriceOverrides => b'$',
            Self::Budgets => b'!',
        }
    }
}

/// The last row of a page of a list that has one order only, `created_at DESC, id DESC`; the next page starts behind it.
/// Lists that can be sorted have a [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The row's `created_at`, in whole microseconds as the database keeps it.
    pub created_at: DateTime<Utc>,
    /// The row's id.
    pub id: Uuid,
}

impl Position {
    const BYTES: usize = 1 + 8 + 16;

    /// The opaque text of this position. It carries no tenant: a cursor is only a place in whatever list is read with it.
    #[must_use]
    pub fn encode(&self, list: List) -> String {
        let mut bytes = [0_u8; Self::BYTES];
        bytes[0] = list.tag();
        bytes[1..9].copy_from_slice(&self.created_at.timestamp_micros().to_be_bytes());
        bytes[9..].copy_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Position::encode`] wrote for the same list.
    pub fn decode(text: &str, list: List) -> Result<Self, Error> {
        let read = || {
            let bytes: [u8; Self::BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
            let micros = i64::from_be_bytes(bytes[1..9].try_into().ok()?);
            let created_at = DateTime::from_timestamp_micros(micros)?;
            let id = Uuid::from_bytes(bytes[9..].try_into().ok()?);
            (bytes[0] == list.tag() && is_sane_instant(created_at)).then_some(Self { created_at, id })
        };
        read().ok_or(Error::InvalidCursor)
    }
}

/// One page of a list.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows, in the order asked for.
    #[schema(schema_with = fields::rows::<T>)]
    pub data: Vec<T>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// The only members to send, or all.
    #[serde(skip)]
    #[schema(ignore)]
    only: Option<Vec<&'static str>>,
}

impl<T: Serialize> Serialize for Page<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut page = serializer.serialize_struct("Page", 2)?;
        match &self.only {
            None => page.serialize_field("data", &self.data)?,
            Some(fields) => {
                let parts: Vec<_> = self.data.iter().map(|record| Part { record, fields }).collect();
                page.serialize_field("data", &parts)?;
            }
        }
        page.serialize_field("next_cursor", &self.next_cursor)?;
        page.end()
    }
}

impl<T> Page<T> {
    /// Cuts a probed result to the page and makes the cursor from its last row.
    #[must_use]
    pub fn cut(mut rows: Vec<T>, limit: Limit, list: List, position: impl Fn(&T) -> Position) -> Self {
        let more = rows.len() > limit.page_len();
        rows.truncate(limit.page_len());
        let next_cursor = rows.last().filter(|_| more).map(|last| position(last).encode(list));
        Self { data: rows, next_cursor, only: None }
    }

    /// As [`Page::cut`], for a list that can be sorted.
    pub(crate) fn sorted<O: Order>(mut rows: Vec<T>, limit: Limit, order: O, place: impl Fn(&T) -> Place) -> Self {
        let more = rows.len() > limit.page_len();
        rows.truncate(limit.page_len());
        let next_cursor = rows.last().filter(|_| more).map(|last| place(last).encode(order));
        Self { data: rows, next_cursor, only: None }
    }

    /// Sends only these members of the rows.
    #[must_use]
    pub fn only(self, fields: Option<Fields<T>>) -> Self {
        Self { only: fields.map(Fields::into_names), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(n: u8) -> Position {
        Position { created_at: DateTime::UNIX_EPOCH, id: Uuid::from_bytes([n; 16]) }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let limit = Limit::from_query(Some(2)).unwrap();
        let whole = Page::cut(vec![1_u8, 2], limit, List::Tasks, |n| position(*n));
        assert_eq!((whole.data.len(), whole.next_cursor), (2, None));
        let first = Page::cut(vec![1_u8, 2, 3], limit, List::Tasks, |n| position(*n));
        assert_eq!(first.data, [1, 2]);
        assert_eq!(Position::decode(&first.next_cursor.unwrap(), List::Tasks).unwrap(), position(2));
        assert_eq!(Page::cut(Vec::<u8>::new(), limit, List::Tasks, |n| position(*n)).next_cursor, None);
    }

    #[test]
    fn a_cursor_belongs_to_one_list() {
        assert!(Position::decode(&position(1).encode(List::Agents), List::Tasks).is_err());
    }

    proptest! {
        #[test]
        fn cursors_round_trip(micros in 0_i64..253_402_300_799_999_999, id in any::<u128>()) {
            let position = Position {
                created_at: DateTime::from_timestamp_micros(micros).unwrap(),
                id: Uuid::from_u128(id),
            };
            prop_assert_eq!(Position::decode(&position.encode(List::Agents), List::Agents).unwrap(), position);
        }

        #[test]
        fn any_text_is_a_position_or_an_error(text in ".{0,60}") {
            if let Ok(position) = Position::decode(&text, List::Agents) {
                prop_assert!(is_sane_instant(position.created_at));
            }
        }

        #[test]
        fn any_bytes_are_a_position_or_an_error(bytes in any::<[u8; 24]>()) {
            let mut whole = vec![b'a'];
            whole.extend(bytes);
            if let Ok(position) = Position::decode(&URL_SAFE_NO_PAD.encode(whole), List::Agents) {
                prop_assert!(is_sane_instant(position.created_at));
            }
        }
    }
}
