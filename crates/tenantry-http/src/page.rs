use crate::codes;
use crate::problem::Problem;

/// How many rows a page has, 1 to 200, 50 unless asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(i64);

impl Limit {
    const DEFAULT: i64 = 50;
    const MAX: i64 = 200;

    /// Takes the `limit` of a query.
    ///
    /// # Errors
    /// `invalid_query`.
    pub fn from_query(given: Option<i64>) -> Result<Self, Problem> {
        match given {
            None => Ok(Self(Self::DEFAULT)),
            Some(n) if (1..=Self::MAX).contains(&n) => Ok(Self(n)),
            Some(n) => {
                let detail = format!("must be 1 to {}, is `{n}`", Self::MAX);
                Err(Problem::of(&codes::INVALID_QUERY).parameter("limit", &detail).detail(format!("`limit` {detail}")))
            }
        }
    }

    /// Takes the `limit` of a body.
    ///
    /// # Errors
    /// `validation_failed`.
    pub fn in_body(given: Option<i64>) -> Result<Self, Problem> {
        Self::from_query(given).map_err(|_| {
            let detail = format!("must be 1 to {}", Self::MAX);
            Problem::of(&codes::VALIDATION_FAILED).pointer("/limit", &detail).detail(format!("`limit` {detail}"))
        })
    }

    /// The parameter for `LIMIT`: one row more than the page, which tells whether there is a next one.
    #[must_use]
    pub const fn probe(self) -> i64 {
        self.0 + 1
    }

    /// The rows of a full page.
    #[must_use]
    pub fn page_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_default_and_bounds() {
        assert_eq!(Limit::from_query(None).unwrap(), Limit(50));
        assert_eq!(Limit::from_query(Some(200)).unwrap(), Limit(200));
        for bad in [i64::MIN, -1, 0, 201] {
            assert_eq!(Limit::from_query(Some(bad)).unwrap_err().code(), "invalid_query", "{bad}");
        }
    }
}
