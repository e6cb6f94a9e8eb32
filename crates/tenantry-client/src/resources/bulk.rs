use reqwest::Method;
use serde::Serialize;
use workforce::BulkResult;

use crate::{Call, Change, Collection, Create};

/// One thing to do among many.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum BulkItem<C, I, U> {
    /// Makes one.
    Create(C),
    /// Changes one; the change names the version that it is based on.
    Update {
        /// Which one.
        id: I,
        /// What is to change.
        #[serde(flatten)]
        change: U,
    },
}

#[derive(Serialize)]
struct Body<'a, T> {
    atomic: bool,
    items: &'a [T],
}

/// The item of a kind of record.
type ItemOf<R> = BulkItem<<R as Create>::New, <R as crate::Resource>::Id, <R as Change>::Change>;

impl<R> Collection<R>
where
    R: Create + Change,
    R::Id: Serialize,
{
    pub(crate) fn many(&self, atomic: bool, items: &[ItemOf<R>]) -> Call<BulkResult<R::Record>> {
        self.at(Method::POST, "bulk").body(&Body { atomic, items })
    }
}
