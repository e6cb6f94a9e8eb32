use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::access::TenantDb;
use crate::error::DbError;
use crate::registry::TenantContext;
use crate::statement::Statement;

/// The events after one, of some kinds, and the first and the last that there are. One row at least.
pub(super) static EVENTS_AFTER: Statement = Statement::new(
    "EVENTS_AFTER",
    "SELECT b.oldest, b.newest, e.id, e.kind, e.data, e.created_at \
     FROM (SELECT min(id) AS oldest, max(id) AS newest FROM tenant.events) AS b \
     LEFT JOIN LATERAL ( \
       SELECT id, kind, data, created_at FROM tenant.events \
       WHERE id > $1 AND ($2::text[] IS NULL OR kind LIKE ANY ($2)) AND kind NOT LIKE ALL ($3) \
       ORDER BY id LIMIT $4) AS e ON true \
     ORDER BY e.id",
    &[Type::INT8, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::INT8],
);

/// An event as a stream tells it.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedEvent {
    /// Its id; a later event of the tenant has a higher one.
    pub id: i64,
    /// What happened, such as `task.updated`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The record, or what is left of it.
    pub data: Value,
}

/// Which kinds of events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// As patterns of `LIKE`; `None` is all.
    only: Option<Vec<String>>,
    never: Vec<String>,
}

impl EventFilter {
    /// Limits to kinds: `task.updated` is one, `task.*` all that begin so, `*` all. `None` when one of them is neither.
    #[must_use]
    pub fn parse(types: &str) -> Option<Self> {
        let mut only = Vec::new();
        for kind in types.split(',').map(str::trim) {
            let name = kind.strip_suffix(".*").unwrap_or(kind);
            let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if kind == "*" {
                return Some(Self::default());
            }
            if kind.len() > 100 || only.len() >= 50 || !name.split('.').all(word) {
                return None;
            }
            let literal = name.replace('_', "\\_");
            only.push(if name == kind { literal } else { format!("{literal}.%") });
        }
        Some(Self { only: Some(only), never: Vec::new() })
    }

    /// Leaves out all kinds that begin with this word.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        self.never.push(format!("{}.%", prefix.replace('_', "\\_")));
        self
    }
}

/// Some events in their order.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// The events.
    pub events: Vec<PublishedEvent>,
    /// Everything up to this id is in here or was not wanted.
    pub position: i64,
    /// There are perhaps more.
    pub more: bool,
    /// Events between the place asked for and these are gone, or that place never was: what a client knows is of no use.
    pub gap: bool,
}

impl TenantDb {
    /// The events of the context's tenant after one, at most `limit`. `None` is from now on, 0 from the first that is left.
    ///
    /// # Errors
    /// As [`TenantDb::single`] and [`TenantTx::query`](crate::TenantTx::query).
    pub async fn events_after(
        &self,
        context: &TenantContext,
        after: Option<i64>,
        filter: &EventFilter,
        limit: i64,
    ) -> Result<EventBatch, DbError> {
        let mut tx = self.single(context).await?;
        let from = after.unwrap_or(i64::MAX);
        let rows = tx.query(&EVENTS_AFTER, &[&from, &filter.only, &filter.never, &limit]).await?;
        let bound = |name: &str| rows.first().and_then(|row| row.get::<_, Option<i64>>(name));
        let (oldest, newest) = (bound("oldest").unwrap_or(1), bound("newest").unwrap_or(0));
        let known = after.filter(|id| *id > 0);
        if known.is_some_and(|id| id > newest || id + 1 < oldest) {
            return Ok(EventBatch { events: Vec::new(), position: newest, more: false, gap: true });
        }
        let events: Vec<PublishedEvent> = rows.iter().filter_map(event).collect();
        let more = i64::try_from(events.len()).is_ok_and(|read| read >= limit);
        let position = match events.last() {
            Some(last) if more => last.id,
            _ => newest,
        };
        Ok(EventBatch { events, position, more, gap: false })
    }
}

/// The row that stands for no event has no id.
fn event(row: &Row) -> Option<PublishedEvent> {
    Some(PublishedEvent {
        id: row.get::<_, Option<i64>>("id")?,
        kind: row.get("kind"),
        created_at: row.get("created_at"),
        data: row.get("data"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_words_with_dots() {
        let only = |types: &str| EventFilter::parse(types).map(|filter| filter.only);
        assert_eq!(only("task.updated"), Some(Some(vec!["task.updated".to_owned()])));
        assert_eq!(only("agent.*, task_note.made"), Some(Some(vec!["agent.%".into(), "task\\_note.made".into()])));
        assert_eq!(only("task.updated,*"), Some(None));
        for bad in
            ["", ",", "Task.*", "task.%", "task..x", "*.updated", "task.*x", "a'b", &"a".repeat(101), &"a,".repeat(60)]
        {
            assert_eq!(only(bad), None, "{bad}");
        }
        let filter = EventFilter::default().without("provider_account");
        assert_eq!(filter.never, ["provider\\_account.%"]);
    }
}
