use crate::text_enum::text_enum;

text_enum! {
    /// Where a task is in its life.
    ///
    /// ```text
    /// pending ──► in_progress ──► completed (final)
    ///    │  ▲       │  ▲   └────► failed ──► pending (a retry, while retries are left)
    ///    ▼  │       ▼  │
    ///   blocked ◄──────┘          pending, in_progress and blocked may become cancelled (final)
    /// ```
    pub enum TaskStatus("task status") {
        /// Waits to be started.
        Pending = "pending",
        /// Is worked on.
        InProgress = "in_progress",
        /// Waits for something outside.
        Blocked = "blocked",
        /// Done; final.
        Completed = "completed",
        /// Ended without success; may be retried.
        Failed = "failed",
        /// Given up; final.
        Cancelled = "cancelled",
    }
}

impl TaskStatus {
    /// The statuses that may follow this one. A retry (`failed` to `pending`) also needs a retry left.
    #[must_use]
    pub const fn successors(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::InProgress, Self::Blocked, Self::Cancelled],
            Self::InProgress => &[Self::Blocked, Self::Completed, Self::Failed, Self::Cancelled],
            Self::Blocked => &[Self::Pending, Self::InProgress, Self::Cancelled],
            Self::Failed => &[Self::Pending],
            Self::Completed | Self::Cancelled => &[],
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.successors().is_empty()
    }

    /// Whether a run of the task has ended, for now or for good.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
