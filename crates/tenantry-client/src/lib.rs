//! A client of the tenant plane (`/v1`): the API as functions, with the server's own types.
//!
//! ```no_run
//! use futures_util::TryStreamExt as _;
//! use tenantry_client::Client;
//! use workforce::agent::CreateAgent;
//! use workforce::task::{TaskFilter, TaskOrder};
//!
//! # async fn tour() -> Result<(), tenantry_client::Error> {
//! let client = Client::builder("http://127.0.0.1:8080", "tnk_…").build()?;
//! let new = CreateAgent { name: "Mira".into(), role: "support".into(), ..CreateAgent::default() };
//! let agent = client.agents().create(&new).await?;
//! let mine = TaskFilter { agent_id: Some(agent.id), ..TaskFilter::default() };
//! let mut tasks = client.tasks().list(&mine).sort(TaskOrder::DueSoon).stream();
//! while let Some(task) = tasks.try_next().await? {
//!     println!("{}", task.title);
//! }
//! # Ok(()) }
//! ```
//!
//! * A request that is safe to repeat is repeated: after a lost connection, 429, 502 and 503, with growing pauses or the server's
//!   `Retry-After`. Every `POST` gets an `Idempotency-Key`, so it is among them. A change (`PATCH`, `DELETE`) is repeated only when the
//!   server has certainly not seen to it; otherwise the caller is told and reads the record again.
//! * Lists are streams that turn the pages themselves.
//! * The stream of events comes back by itself where it broke off.
//! * An export is a stream of bytes; one that breaks off ends in an error.
//! * A refusal is an [`ApiError`] with the stable code of `docs/errors.md`.
//!
//! Records and bodies are the types of the crate `workforce`, which the server reads and writes: a member that changes there changes
//! here, or this crate does not compile. It costs building the domain with its endpoints, database driver included, which is why
//! programs that want something leaner speak HTTP by the OpenAPI document; nothing of it runs in a client.

mod call;
mod client;
mod download;
mod error;
mod events;
mod filter;
mod list;
mod resource;
mod resources;
mod retry;
mod sse;

pub use call::Call;
pub use client::{Client, ClientBuilder};
pub use download::Download;
pub use error::{ApiError, Error, FieldError};
pub use events::{Event, Events, Published};
pub use filter::Filter;
pub use list::List;
pub use reqwest::Method;
pub use resource::{Change, Collection, Create, Delete, Listed, Resource};
pub use resources::{
    Activities, Agents, Analytics, BudgetFilter, Budgets, BulkItem, CallsOf, CredentialList, Credentials, Dependencies,
    DependencyList, Keys, MemberFilter, Members, Messages, PriceOverrideList, Prices, ProviderAccounts,
    ProviderCallList, ProviderCalls, Schedules, Sessions, SettingsOf, Statements, Tasks, ThreadList, ThreadMessages,
    Threads,
};
pub use retry::Retry;
