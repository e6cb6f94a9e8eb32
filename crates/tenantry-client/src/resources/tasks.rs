use reqwest::Method;
use workforce::dependency::{AddDependency, Dependency};
use workforce::task::{ClaimTasks, ClaimedTasks, CreateTask, Task, TaskFilter, TaskOrder, UpdateTask};
use workforce::{AgentId, BulkResult, TaskId};

use super::BulkItem;
use crate::{Call, Change, Client, Collection, Create, Delete, List, Listed, Resource};

/// Tasks: the work.
#[derive(Debug)]
pub enum Tasks {}

impl Resource for Tasks {
    const PATH: &'static str = "/v1/tasks";
    type Id = TaskId;
    type Record = Task;
}

impl Listed for Tasks {
    type Filter = TaskFilter;
    type Order = TaskOrder;
}

impl Create for Tasks {
    type New = CreateTask;
}

impl Change for Tasks {
    type Change = UpdateTask;
}

impl Delete for Tasks {}

impl Client {
    /// Tasks.
    #[must_use]
    pub fn tasks(&self) -> Collection<Tasks> {
        Collection::new(self.clone())
    }
}

impl Collection<Tasks> {
    /// Hands out up to `limit` (1 to 20) tasks of an agent that can be started now, and starts them.
    pub fn claim(&self, agent: AgentId, limit: u8) -> Call<ClaimedTasks> {
        self.at(Method::POST, "claim").body(&ClaimTasks { agent_id: agent, limit: Some(limit) })
    }

    /// Makes and changes up to 1,000, each with a result of its own, or all or nothing.
    pub fn bulk(&self, atomic: bool, items: &[BulkItem<CreateTask, TaskId, UpdateTask>]) -> Call<BulkResult<Task>> {
        self.many(atomic, items)
    }

    /// What a task waits for.
    #[must_use]
    pub fn dependencies(&self, task: TaskId) -> Dependencies {
        Dependencies { client: self.client.clone(), path: format!("{}/{task}/dependencies", Tasks::PATH) }
    }
}

/// The dependencies of one task.
#[derive(Debug)]
pub struct Dependencies {
    client: Client,
    path: String,
}

/// A list of dependencies, which has one order.
pub type DependencyList = List<Dependency>;

impl Dependencies {
    /// Those of the task itself, or with those of the tasks it waits for, and so on.
    pub fn list(&self, transitive: bool) -> DependencyList {
        let query = if transitive { vec![("transitive", "true".to_owned())] } else { Vec::new() };
        List::new(self.client.clone(), self.path.clone(), query)
    }

    /// Makes the task wait for another.
    pub fn add(&self, other: TaskId) -> Call<Dependency> {
        self.client.call(Method::POST, self.path.as_str()).body(&AddDependency { depends_on_task_id: other })
    }

    /// Lets the task wait for another no longer.
    pub fn remove(&self, other: TaskId) -> Call<()> {
        self.client.call(Method::DELETE, format!("{}/{other}", self.path))
    }
}
