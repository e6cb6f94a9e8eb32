//! Dependencies against a model of the graph, and what would happen without the lock of the graph.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use workforce::dependency::Dependency;
use workforce::store::dependencies::{self as store, Added};
use workforce::task::{Task, TaskFilter, TaskOrder};
use workforce::{Error, Kind, Record, TaskId, TaskStatus};

use crate::{Company, body, limit};

impl Company {
    async fn depend(&self, task: TaskId, other: TaskId) -> Result<Added, Error> {
        let mut tx = self.begin().await;
        let added = store::add(&mut tx, task, &body(json!({ "depends_on_task_id": other }))).await?;
        tx.commit().await?;
        Ok(added)
    }

    async fn undepend(&self, task: TaskId, other: TaskId) -> Result<(), Error> {
        let mut tx = self.begin().await;
        store::remove(&mut tx, task, other).await?;
        Ok(tx.commit().await?)
    }

    async fn dependencies(&self, task: TaskId, all: bool) -> Vec<Dependency> {
        store::list(&mut self.single().await, task, all, None, limit(200)).await.unwrap().data
    }

    async fn to(&self, task: &Task, status: &str) -> Result<Task, Error> {
        self.change_task(task, json!({ "status": status })).await
    }
}

/// Who waits for whom, done in the plainest way.
#[derive(Debug, Default)]
struct Model {
    edges: BTreeSet<(usize, usize)>,
}

impl Model {
    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || self.next(from).any(|next| self.reaches(next, to))
    }

    fn next(&self, from: usize) -> impl Iterator<Item = usize> {
        self.edges.iter().filter(move |(task, _)| *task == from).map(|(_, other)| *other)
    }

    /// The longest chain that begins at a task.
    fn height(&self, task: usize) -> i32 {
        self.next(task).map(|other| 1 + self.height(other)).max().unwrap_or(0)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(usize, usize),
    Remove(usize, usize),
}

const TASKS: usize = 7;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pair = || (0..TASKS, 0..TASKS);
    let step = prop_oneof![
        3 => pair().prop_map(|(a, b)| Step::Add(a, b)),
        1 => pair().prop_map(|(a, b)| Step::Remove(a, b)),
    ];
    proptest::collection::vec(step, 1..30)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_is_that_of_the_model() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let checked = tokio::task::block_in_place(|| {
        runner.run(&steps(), |steps| {
            runtime.block_on(async {
                let mut ids = Vec::new();
                for n in 0..TASKS {
                    ids.push(company.task(&agent, &format!("t{n}")).await.id);
                }
                check(&company, &ids, &steps).await;
            });
            Ok(())
        })
    });
    checked.unwrap();
}

async fn check(company: &Company, ids: &[TaskId], steps: &[Step]) {
    let mut model = Model::default();
    for step in steps {
        match *step {
            Step::Add(a, b) => match company.depend(ids[a], ids[b]).await {
                Ok(Added::New(dependency)) => {
                    assert!(!model.reaches(b, a), "{step:?} closes a cycle: {model:?}");
                    assert!(model.edges.insert((a, b)), "{step:?} was there: {model:?}");
                    assert_eq!(dependency.depth, 1 + model.height(b));
                }
                Ok(Added::Known(_)) => assert!(model.edges.contains(&(a, b)), "{step:?}: {model:?}"),
                Err(Error::Cycle(cycle)) => {
                    assert!(model.reaches(b, a), "{step:?} closes no cycle: {model:?}");
                    let way: Vec<usize> =
                        cycle.iter().map(|task| ids.iter().position(|id| *id == task.id).unwrap()).collect();
                    assert_eq!((way[0], way[1], way[way.len() - 1]), (a, b, a));
                    let fine = way[1..].windows(2).all(|step| model.edges.contains(&(step[0], step[1])));
                    assert!(fine, "{step:?}: {way:?} is no way in {model:?}");
                }
                Err(other) => panic!("{step:?}: {other}"),
            },
            Step::Remove(a, b) => match company.undepend(ids[a], ids[b]).await {
                Ok(()) => assert!(model.edges.remove(&(a, b)), "{step:?}"),
                Err(Error::NoDependency { .. }) => assert!(!model.edges.contains(&(a, b)), "{step:?}"),
                Err(other) => panic!("{step:?}: {other}"),
            },
        }
    }
    for (task, id) in ids.iter().enumerate() {
        let place = |id: TaskId| ids.iter().position(|other| *other == id).unwrap();
        let edge = |d: &Dependency| ((place(d.task_id), place(d.depends_on_task_id)), d.depth);
        let expected = |(a, b): (usize, usize)| ((a, b), 1 + model.height(b));
        let direct: BTreeMap<_, _> = company.dependencies(*id, false).await.iter().map(edge).collect();
        let own = model.edges.iter().filter(|(a, _)| *a == task).map(|edge| expected(*edge));
        assert_eq!(direct, own.collect(), "{model:?}");
        let all = company.dependencies(*id, true).await;
        let below = model.edges.iter().filter(|(a, _)| model.reaches(task, *a)).map(|edge| expected(*edge));
        assert_eq!(all.iter().map(edge).collect::<BTreeMap<_, _>>(), below.collect(), "{model:?}");
    }
}

#[tokio::test]
async fn without_the_lock_two_halves_make_a_cycle() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let (a, b) = (company.task(&agent, "a").await.id, company.task(&agent, "b").await.id);
    // what `add` does, but for the lock
    let (mut one, mut two) = (company.begin().await, company.begin().await);
    for (tx, task, other) in [(&mut one, a, b), (&mut two, b, a)] {
        let row = tx.query_one(&store::WAITS_FOR, &[other.as_uuid(), task.as_uuid()]).await.unwrap();
        assert!(!row.get::<_, bool>("waits"), "neither sees the other's half");
        let (ids, others) = (vec![uuid::Uuid::now_v7()], vec![*other.as_uuid()]);
        tx.query(&store::INSERT_DEPENDENCIES, &[task.as_uuid(), &ids, &others]).await.unwrap();
    }
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    let row = company.single().await.query_one(&store::WAITS_FOR, &[a.as_uuid(), b.as_uuid()]).await.unwrap();
    let there = company.single().await.query_one(&store::WAITS_FOR, &[b.as_uuid(), a.as_uuid()]).await.unwrap();
    assert!(row.get::<_, bool>("waits") && there.get::<_, bool>("waits"), "a cycle, which the lock keeps out");
}

#[tokio::test]
async fn a_task_starts_when_nothing_holds_it_up() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let first = company.task(&agent, "first").await;
    let second = company.try_task(json!({ "agent_id": agent.id, "title": "second", "depends_on": [first.id] })).await;
    let second = second.unwrap();
    let third = company.task(&agent, "third").await;
    company.depend(third.id, second.id).await.unwrap();
    let listed = company.dependencies(third.id, false).await;
    assert_eq!((listed[0].depth, listed[0].title.as_str(), listed[0].done), (2, "second", false));
    let ready = async || {
        let filter = TaskFilter { ready: Some(true), ..TaskFilter::default() };
        let mut tx = company.single().await;
        let page = workforce::store::tasks::list(&mut tx, &filter, TaskOrder::Oldest, None, limit(9));
        page.await.unwrap().data.into_iter().map(|task| task.title).collect::<Vec<_>>()
    };
    assert_eq!(ready().await, ["first"]);
    let early = company.to(&second, "in_progress").await.unwrap_err();
    let Error::DependenciesNotDone(open) = early else { panic!("{early}") };
    assert_eq!((open[0].id, open[0].status, open.len()), (first.id, TaskStatus::Pending, 1));
    // by way of `blocked` neither
    let blocked = company.to(&second, "blocked").await.unwrap();
    assert!(matches!(company.to(&blocked, "in_progress").await, Err(Error::DependenciesNotDone(_))));
    let second = company.to(&blocked, "pending").await.unwrap();
    let first = company.to(&first, "in_progress").await.unwrap();
    assert!(matches!(company.to(&second, "in_progress").await, Err(Error::DependenciesNotDone(_))));
    company.to(&first, "completed").await.unwrap();
    assert_eq!(ready().await, ["second"]);
    company.to(&second, "in_progress").await.unwrap();
}

#[tokio::test]
async fn only_completion_ends_the_waiting() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let (cancelled, deleted) = (company.task(&agent, "cancelled").await, company.task(&agent, "deleted").await);
    let new = json!({ "agent_id": agent.id, "title": "waits", "depends_on": [cancelled.id, deleted.id] });
    let waits = company.try_task(new).await.unwrap();
    company.to(&cancelled, "cancelled").await.unwrap();
    company.delete_task(&deleted, None).await.unwrap();
    let held = company.to(&waits, "in_progress").await.unwrap_err();
    let Error::DependenciesNotDone(open) = held else { panic!("{held}") };
    assert_eq!((open[0].status, open[1].deleted_at.is_some()), (TaskStatus::Cancelled, true));
    for other in [cancelled.id, deleted.id] {
        company.undepend(waits.id, other).await.unwrap();
    }
    company.to(&waits, "in_progress").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let (task, other, gone) =
        (company.task(&agent, "task").await, company.task(&agent, "other").await, company.task(&agent, "gone").await);
    company.delete_task(&gone, None).await.unwrap();
    for unknown in [gone.id, TaskId::generate()] {
        let error = company.depend(task.id, unknown).await.unwrap_err();
        assert!(
            matches!(&error, Error::UnknownDependency { pointer, .. } if pointer == "/depends_on_task_id"),
            "{error}"
        );
        let error = company.depend(unknown, task.id).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { kind: Kind::Task, .. }), "{error}");
        let new = json!({ "agent_id": agent.id, "title": "new", "depends_on": [task.id, unknown] });
        let error = company.try_task(new).await.unwrap_err();
        assert!(matches!(&error, Error::UnknownDependency { pointer, .. } if pointer == "/depends_on/1"), "{error}");
    }
    let itself = company.depend(task.id, task.id).await.unwrap_err();
    assert!(matches!(itself, Error::Cycle(cycle) if cycle.len() == 2));
    let started = company.to(&task, "in_progress").await.unwrap();
    assert!(matches!(company.depend(task.id, other.id).await, Err(Error::UnderWay(TaskStatus::InProgress))));
    company.to(&started, "blocked").await.unwrap();
    assert!(matches!(company.depend(task.id, other.id).await, Ok(Added::New(_))));
    assert!(matches!(company.depend(task.id, other.id).await, Ok(Added::Known(_))));
    assert!(matches!(company.undepend(task.id, gone.id).await, Err(Error::NoDependency { .. })));
    let mut many = Vec::new();
    for n in 0..101 {
        many.push(company.task(&agent, &format!("t{n}")).await.id);
    }
    let new = json!({ "agent_id": agent.id, "title": "most", "depends_on": many[..100] });
    let most = company.try_task(new).await.unwrap();
    assert!(matches!(company.depend(most.id, many[100]).await, Err(Error::TooManyDependencies)));
    let first = store::list(&mut company.single().await, most.id, false, None, limit(60)).await.unwrap();
    assert_eq!(first.data.iter().map(|d| d.depends_on_task_id).collect::<Vec<_>>(), many[..60], "as they were added");
    let members = serde_json::to_value(&first.data[0]).unwrap();
    assert_eq!(members.as_object().unwrap().len(), Dependency::FIELDS.len());
    assert!(Dependency::FIELDS.iter().all(|field| members.get(*field).is_some()));
}
