use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use tenantry_http::{Problem, codes};

pub(crate) use tenantry_http::Limit;
use utoipa::ToSchema;

const NOT_OURS: &str = "the cursor was not given out by this list; start again without one";

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Asks for the next page; `null` on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// The lists that can be paged. The name is inside the cursor, so that one list's cursor is not taken for another's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum List {
    Tenants,
    Keys,
    Operators,
    Audit,
    Billing,
    Rows,
}

impl List {
    const fn tag(self) -> &'static str {
        match self {
            Self::Tenants => "t:",
            Self::Keys => "k:",
            Self::Operators => "o:",
            Self::Audit => "a:",
            Self::Billing => "b:",
            Self::Rows => "r:",
        }
    }

    pub(crate) fn encode(self, last: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}{last}", self.tag()))
    }

    /// Reads the place that a cursor of this list names, if one was given.
    pub(crate) fn decode<T: std::str::FromStr>(
        self,
        parameter: &'static str,
        cursor: Option<&str>,
    ) -> Result<Option<T>, Problem> {
        let Some(cursor) = cursor else { return Ok(None) };
        self.read(cursor)
            .map(Some)
            .ok_or_else(|| Problem::of(&codes::INVALID_CURSOR).parameter(parameter, NOT_OURS).detail(NOT_OURS))
    }

    /// The same for a cursor in a body.
    pub(crate) fn decode_member<T: std::str::FromStr>(
        self,
        member: &'static str,
        cursor: Option<&str>,
    ) -> Result<Option<T>, Problem> {
        let Some(cursor) = cursor else { return Ok(None) };
        self.read(cursor).map(Some).ok_or_else(|| {
            let pointer = format!("/{member}");
            Problem::of(&codes::VALIDATION_FAILED).pointer(&pointer, NOT_OURS).detail(NOT_OURS)
        })
    }

    fn read<T: std::str::FromStr>(self, cursor: &str) -> Option<T> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        std::str::from_utf8(&bytes).ok()?.strip_prefix(self.tag())?.parse().ok()
    }
}

impl<T> Page<T> {
    /// Cuts a probed result to the page and makes the cursor from the key of its last row.
    pub(crate) fn cut<R: Into<T>>(mut rows: Vec<R>, limit: Limit, list: List, key: impl Fn(&R) -> String) -> Self {
        let more = rows.len() > limit.page_len();
        rows.truncate(limit.page_len());
        let next_cursor = rows.last().filter(|_| more).map(|last| list.encode(&key(last)));
        Self { data: rows.into_iter().map(Into::into).collect(), next_cursor }
    }
}

/// A query parameter with a value that cannot be.
pub(crate) fn invalid_query(parameter: &str, detail: &str) -> Problem {
    Problem::of(&codes::INVALID_QUERY).parameter(parameter, detail).detail(format!("`{parameter}` {detail}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_page_has_no_cursor() {
        let limit = Limit::from_query(Some(2)).unwrap();
        let whole: Page<i64> = Page::cut(vec![1_i64, 2], limit, List::Audit, i64::to_string);
        assert_eq!((whole.data, whole.next_cursor), (vec![1, 2], None));
        let first: Page<i64> = Page::cut(vec![3_i64, 2, 1], limit, List::Audit, i64::to_string);
        assert_eq!(first.data, [3, 2]);
        let cursor = first.next_cursor.unwrap();
        assert_eq!(List::Audit.decode::<i64>("after", Some(&cursor)).unwrap(), Some(2));
        assert_eq!(List::Keys.decode::<i64>("cursor", Some(&cursor)).unwrap_err().code(), "invalid_cursor");
    }

    proptest! {
        #[test]
        fn any_text_is_a_place_or_an_error(text in ".{0,60}") {
            let _ = List::Audit.decode::<i64>("after", Some(&text));
            let _ = List::Tenants.decode::<tenantry_core::Slug>("cursor", Some(&text));
        }
    }
}
