//! Dependencies: which task waits for which.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::checks::{Checks, Validate};
use crate::{DependencyId, Key, List, Order, Place, Record, TaskId, TaskStatus};

/// How many tasks one task may depend on directly.
pub(crate) const MAX_DEPENDENCIES: usize = 100;
/// How many tasks may wait for one another in a row.
pub(crate) const MAX_DEPTH: i32 = 1000;

/// A task that waits for another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dependency {
    /// Names the dependency for good.
    #[schema(value_type = Uuid)]
    pub id: DependencyId,
    /// The task that waits.
    #[schema(value_type = Uuid)]
    pub task_id: TaskId,
    /// The task that it waits for.
    #[schema(value_type = Uuid)]
    pub depends_on_task_id: TaskId,
    /// How many tasks have to be done one after another before the waiting one: the longest chain of dependencies that begins
    /// with this one. 1 where the other task depends on nothing.
    #[schema(minimum = 1)]
    pub depth: i32,
    /// Whether it holds nothing up any more: the other task is completed.
    pub done: bool,
    /// The other task's title.
    pub title: String,
    /// The other task's status. A task that was cancelled, or has failed for good, will not be completed: take the dependency
    /// away, or cancel the waiting task as well.
    pub status: TaskStatus,
    /// When the other task was deleted, which does not end the waiting for it.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Record for Dependency {
    const FIELDS: &'static [&'static str] =
        &["id", "task_id", "depends_on_task_id", "depth", "done", "title", "status", "deleted_at"];
}

/// The order of dependencies: as they were added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DependencyOrder;

impl Order for DependencyOrder {
    const LIST: List = List::Dependencies;

    fn code(self) -> u8 {
        0
    }
}

impl DependencyOrder {
    pub(crate) fn place(dependency: &Dependency) -> Place {
        Place { key: Key::Nothing, id: *dependency.id.as_uuid() }
    }
}

/// The body that makes a task wait for another.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "depends_on_task_id": "0192f0a1-7e3c-7b52-9c1e-3f1d2a4b5c6d" }))]
pub struct AddDependency {
    /// The task to wait for: a live one.
    #[schema(value_type = Uuid)]
    pub depends_on_task_id: TaskId,
}

impl Validate for AddDependency {
    fn check(&self, _: &mut Checks) {}
}

/// A task as errors name it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedTask {
    /// Its id.
    pub id: TaskId,
    /// Its title.
    pub title: String,
    /// Its status.
    pub status: TaskStatus,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// The shortest way along dependencies (waiting task, task it waits for), both ends included.
pub(crate) fn shortest_way(edges: &[(Uuid, Uuid)], from: Uuid, to: Uuid) -> Option<Vec<Uuid>> {
    let mut next: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (task, other) in edges {
        next.entry(*task).or_default().push(*other);
    }
    let mut came_from: HashMap<Uuid, Uuid> = HashMap::from([(from, from)]);
    let mut queue = VecDeque::from([from]);
    while let Some(task) = queue.pop_front() {
        if task == to {
            let mut way = vec![to];
            let mut at = to;
            while at != from {
                at = came_from[&at];
                way.push(at);
            }
            way.reverse();
            return Some(way);
        }
        for other in next.get(&task).into_iter().flatten() {
            if !came_from.contains_key(other) {
                came_from.insert(*other, task);
                queue.push_back(*other);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(n: u8) -> Uuid {
        Uuid::from_u128(n.into())
    }

    #[test]
    fn the_way_is_the_shortest() {
        let edges: Vec<_> =
            [(1, 2), (2, 3), (3, 4), (1, 3), (5, 1)].into_iter().map(|(a, b)| (node(a), node(b))).collect();
        assert_eq!(shortest_way(&edges, node(1), node(4)).unwrap(), [1, 3, 4].map(node));
        assert_eq!(shortest_way(&edges, node(4), node(1)), None);
        assert_eq!(shortest_way(&edges, node(2), node(2)).unwrap(), [node(2)]);
    }

    proptest! {
        #[test]
        fn a_way_consists_of_edges(pairs in proptest::collection::vec((0_u8..8, 0_u8..8), 0..20), from in 0_u8..8, to in 0_u8..8) {
            let edges: Vec<_> = pairs.into_iter().map(|(a, b)| (node(a), node(b))).collect();
            if let Some(way) = shortest_way(&edges, node(from), node(to)) {
                prop_assert_eq!((way[0], way[way.len() - 1]), (node(from), node(to)));
                for step in way.windows(2) {
                    prop_assert!(edges.contains(&(step[0], step[1])));
                }
            } else {
                prop_assert!(from != to && !edges.contains(&(node(from), node(to))));
            }
        }
    }
}
