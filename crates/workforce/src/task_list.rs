//! Which tasks a list shows, in what order, and with which members.

use chrono::{DateTime, Utc};

use crate::task::{Priority, Task};
use crate::text_enum::text_enum;
use crate::{AgentId, Key, List, Order, Place, Record, TaskStatus};

impl Record for Task {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "agent_id",
        "created_by_id",
        "title",
        "description",
        "status",
        "previous_status",
        "priority",
        "progress_percent",
        "progress_details",
        "result",
        "deadline",
        "started_at",
        "completed_at",
        "error_details",
        "version",
        "retry_count",
        "max_retries",
        "created_at",
        "deleted_at",
        "provider",
        "provider_account_id",
    ];
}

text_enum! {
    /// In what order tasks are listed. A minus turns the order round: the latest, the most urgent or the last in the alphabet
    /// first. A task without a deadline counts as due after all others.
    pub enum TaskOrder("order") {
        /// The newest first.
        Newest = "-created_at",
        /// The oldest first.
        Oldest = "created_at",
        /// The most urgent first.
        Urgent = "-priority",
        /// The least urgent first.
        Leisurely = "priority",
        /// What is due soonest first.
        DueSoon = "deadline",
        /// What is due last first.
        DueLate = "-deadline",
        /// By title, upper and lower case alike.
        Title = "title",
        /// By title, from the end of the alphabet.
        TitleBackwards = "-title",
    }
}

impl Order for TaskOrder {
    const LIST: List = List::Tasks;

    fn code(self) -> u8 {
        self as u8
    }
}

impl TaskOrder {
    pub(crate) fn place(self, task: &Task) -> Place {
        let key = match self {
            Self::Newest | Self::Oldest => Key::Time(task.created_at),
            Self::Urgent | Self::Leisurely => Key::Number(task.priority.rank()),
            Self::DueSoon | Self::DueLate => task.deadline.map_or(Key::Nothing, Key::Time),
            Self::Title | Self::TitleBackwards => Key::Text(task.title.clone()),
        };
        Place { key, id: *task.id.as_uuid() }
    }
}

/// Which tasks a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only with one of these statuses; none means any.
    pub status: Vec<TaskStatus>,
    /// Only with one of these priorities; none means any.
    pub priority: Vec<Priority>,
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those this agent gave.
    pub created_by_id: Option<AgentId>,
    /// Only with a deadline before this instant.
    pub deadline_before: Option<DateTime<Utc>>,
    /// Only made at this instant or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Only made before this instant.
    pub created_before: Option<DateTime<Utc>>,
    /// Only with this somewhere in the title, upper and lower case alike.
    pub search: Option<String>,
    /// Only those that could be started now (pending, and all they depend on is completed), or only the others.
    pub ready: Option<bool>,
    /// Deleted ones as well.
    pub include_deleted: bool,
}
