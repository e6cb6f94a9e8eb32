//! Counts as providers write them.

use serde_json::Value;

use super::MOST_OF_ONE;

/// Reads counts and notes whether one of them was none.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// A count was negative, broken, no number, or beyond what a call can have.
    pub(super) odd: bool,
    /// There was a count at all, be it zero: an explicit zero is not a missing count.
    pub(super) any: bool,
}

impl Counts {
    /// The count under the first of these names that is there. Null is not there.
    pub(super) fn get(&mut self, object: &Value, names: &[&str]) -> Option<u64> {
        let value = names.iter().filter_map(|name| object.get(name)).find(|value| !value.is_null())?;
        let count = whole(value);
        match count {
            Some(count) if count <= MOST_OF_ONE => {
                self.any = true;
                Some(count)
            }
            Some(_) => {
                (self.any, self.odd) = (true, true);
                Some(MOST_OF_ONE)
            }
            None => {
                self.odd = true;
                None
            }
        }
    }

    /// As [`get`](Self::get), where nothing means none.
    pub(super) fn part(&mut self, object: &Value, names: &[&str]) -> u64 {
        self.get(object, names).unwrap_or(0)
    }
}

/// A whole number that is not negative; `12.0` is one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the number was found to be whole, positive and within what a float holds exactly"
)]
fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    let number = value.as_number()?;
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=EXACT).contains(n)).map(|n| n as u64))
}

/// A text of at most so many characters, without what a database cannot hold.
pub(super) fn text(value: Option<&Value>, most: usize) -> Option<String> {
    let text = value?.as_str()?;
    let text: String = text.chars().filter(|c| !c.is_control()).take(most).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_count_is_none() {
        let of = |value: Value| {
            let mut counts = Counts::default();
            (counts.get(&json!({ "n": value }), &["missing", "n"]), counts.any, counts.odd)
        };
        assert_eq!(of(json!(0)), (Some(0), true, false), "zero is a count");
        assert_eq!(of(json!(12.0)), (Some(12), true, false));
        assert_eq!(of(json!(null)), (None, false, false));
        for odd in [json!(-1), json!(1.5), json!("7"), json!([]), json!(true), json!(-0.5), json!(1e300)] {
            assert_eq!(of(odd.clone()), (None, false, true), "{odd}");
        }
        assert_eq!(of(json!(u64::MAX)), (Some(MOST_OF_ONE), true, true));
    }

    #[test]
    fn texts_are_short_and_can_be_stored() {
        assert_eq!(text(Some(&json!("a\0b\ncd")), 3).as_deref(), Some("abc"));
        assert_eq!(text(Some(&json!("\0")), 3), None);
        assert_eq!(text(Some(&json!(7)), 3), None);
    }
}
