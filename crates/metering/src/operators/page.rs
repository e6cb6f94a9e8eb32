//! Pages of reports. A page begins behind a row's place in the order, so that rows that come in between move nothing out of sight.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tenantry_control::Page;
use tenantry_http::{Limit, Problem};

use crate::reports::Place;

const NOT_OURS: &str = "the cursor was not given out by this list; start again without one";

/// The cursor of a row of a list: the list's name is inside, so that one list's is not taken for another's.
pub(super) fn encode(list: &str, parts: &[&str]) -> String {
    // Names come from tenants, so the parts are kept apart as JSON does.
    URL_SAFE_NO_PAD.encode(serde_json::json!([list, parts]).to_string())
}

/// What a cursor of a list with `N` parts holds.
pub(super) fn decode<const N: usize>(list: &str, cursor: Option<&str>) -> Result<Option<[String; N]>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (name, parts): (String, Vec<String>) = serde_json::from_slice(&bytes).ok()?;
        let whole = name == list && parts.iter().all(|part| !part.contains('\0'));
        <[String; N]>::try_from(parts).ok().filter(|_| whole)
    };
    read().map(Some).ok_or_else(invalid)
}

/// The place of a cursor of a list that is ordered by a figure and a name.
pub(super) fn place(list: &str, cursor: Option<&str>) -> Result<Option<Place>, Problem> {
    let Some([figure, name]) = decode(list, cursor)? else { return Ok(None) };
    Ok(Some(Place { figure: parse(&figure)?, name }))
}

/// Reads a part of a cursor.
pub(super) fn parse<T: FromStr>(part: &str) -> Result<T, Problem> {
    part.parse().map_err(|_| invalid())
}

fn invalid() -> Problem {
    Problem::of(&tenantry_http::codes::INVALID_CURSOR).parameter("cursor", NOT_OURS).detail(NOT_OURS)
}

/// Cuts a probed result to the page.
pub(super) fn cut<R, T>(
    mut rows: Vec<R>,
    limit: Limit,
    cursor: impl Fn(&R) -> String,
    row: impl Fn(R) -> T,
) -> Page<T> {
    let more = rows.len() > limit.page_len();
    rows.truncate(limit.page_len());
    let next_cursor = rows.last().filter(|_| more).map(cursor);
    Page { data: rows.into_iter().map(row).collect(), next_cursor }
}

/// The same for rows with a figure and a name.
pub(super) fn placed<T>(rows: Vec<(Place, T)>, limit: Limit, list: &str) -> Page<T> {
    let cursor = |(place, _): &(Place, T)| encode(list, &[&place.figure.to_string(), &place.name]);
    cut(rows, limit, cursor, |(_, row)| row)
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn a_cursor_is_its_lists() {
        let cursor = encode("costs", &["-1.50", "x\":,"]);
        let expected = Place { figure: Decimal::new(-150, 2), name: "x\":,".into() };
        assert_eq!(place("costs", Some(&cursor)).unwrap(), Some(expected));
        assert_eq!(place("costs", None).unwrap(), None);
        let nul = encode("costs", &["1", "\0"]);
        for (list, cursor) in
            [("margins", cursor.as_str()), ("costs", "x"), ("costs", &encode("costs", &["a", "b"])), ("costs", &nul)]
        {
            assert_eq!(place(list, Some(cursor)).unwrap_err().code(), "invalid_cursor");
        }
    }
}
