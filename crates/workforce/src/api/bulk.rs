//! Many changes in one request, each with a result of its own.
//!
//! All of it is one transaction, with a savepoint before each item: so a request under an `Idempotency-Key` is done as a whole or not
//! at all, also when the server is killed in the middle, and an item that fails leaves nothing behind. Locks that several items
//! would take in their own order are taken ahead, in the order that everybody keeps, so that no two requests wait for each other.

use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tenantry_core::IdError;
use tenantry_http::{Answer, Early, Idempotency, Once, Problem, ProblemBody, codes as http_codes, from_value};
use tenantry_postgres::{TenantContext, TenantDb, TenantTx};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::{Error, Valid, Validate, codes};

/// How many items a request may have.
const MAX_ITEMS: usize = 1000;

/// Records that can be made and changed in bulk.
pub(super) trait Bulk: Sized {
    type Id: std::str::FromStr<Err = IdError> + Send;
    type Create: DeserializeOwned + Validate + Send + Sync;
    type Update: DeserializeOwned + Validate + Send + Sync;
    type Record: Serialize + Send;

    /// The version that a change names.
    fn version(update: &Self::Update) -> Option<i64>;

    /// Takes the locks of all items.
    fn hold(tx: &mut TenantTx, items: &[&Item<Self>]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes one.
    fn create(tx: &mut TenantTx, new: &Valid<Self::Create>)
    -> impl Future<Output = Result<Self::Record, Error>> + Send;

    /// Changes one.
    fn update(
        tx: &mut TenantTx,
        id: Self::Id,
        expected: i64,
        change: &Valid<Self::Update>,
    ) -> impl Future<Output = Result<Self::Record, Error>> + Send;
}

/// One thing to do.
pub(super) enum Item<B: Bulk> {
    Create(Valid<B::Create>),
    Update { id: B::Id, expected: i64, change: Valid<B::Update> },
}

/// What came of all items.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkResult<T> {
    /// One for each item, in the order of the request.
    pub items: Vec<ItemResult<T>>,
    /// How many items were done.
    pub succeeded: usize,
    /// How many items failed.
    pub failed: usize,
}

/// What came of one item.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ItemResult<T> {
    /// The item's place in the request, from 0.
    pub index: usize,
    /// The status that the item would have been answered with by itself.
    #[schema(minimum = 200, maximum = 499)]
    pub status: u16,
    /// The record that was made or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub record: Option<T>,
    /// Why the item failed; pointers lead into the request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<ProblemBody>,
}

/// Does the items of a request and answers it, once for its key.
pub(super) async fn answer<B: Bulk>(
    db: &TenantDb,
    context: &TenantContext,
    idempotency: Idempotency,
    atomic: bool,
    items: Vec<Value>,
) -> Result<Response, Early> {
    let items = read::<B>(items)?;
    let mut write = Once::begin(db, context, idempotency).await?;
    let outcome = run(write.tx(), atomic, items).await;
    write.finish(outcome).await
}

/// The items of a body; what is wrong with one is its own result.
fn read<B: Bulk>(items: Vec<Value>) -> Result<Vec<Result<Item<B>, Problem>>, Problem> {
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        let detail = format!("must have 1 to {MAX_ITEMS} items, has {}", items.len());
        return Err(Problem::of(&codes::VALIDATION_FAILED).pointer("/items", &detail).detail(detail));
    }
    Ok(items.into_iter().enumerate().map(|(i, item)| parse(item).map_err(|problem| problem.below(&place(i)))).collect())
}

/// Does the items in their order.
///
/// # Errors
/// A defect of the server or of the database ends the request, whatever the item; nothing is done then. So does an item that
/// fails where all or nothing was asked for.
async fn run<B: Bulk>(tx: &mut TenantTx, atomic: bool, items: Vec<Result<Item<B>, Problem>>) -> Result<Answer, Early> {
    let hopeless = atomic && items.iter().any(Result::is_err);
    if !hopeless {
        let sound: Vec<&Item<B>> = items.iter().flatten().collect();
        B::hold(tx, &sound).await?;
    }
    let mut results = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        let done = match item {
            Ok(_) if hopeless => continue,
            Ok(item) => part(tx, item).await?.map_err(|problem| problem.below(&place(i))),
            Err(problem) => Err(problem),
        };
        results.push(ItemResult::new(i, done));
    }
    let failed = results.iter().filter(|result| result.problem.is_some()).count();
    if atomic && failed > 0 {
        return Err(rejected(results).into());
    }
    let status = if failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let succeeded = results.len() - failed;
    Ok(Answer::status(status, &BulkResult { items: results, succeeded, failed }))
}

/// Does one item, or nothing.
async fn part<B: Bulk>(tx: &mut TenantTx, item: Item<B>) -> Result<Result<(StatusCode, B::Record), Problem>, Problem> {
    tx.savepoint()?;
    let done = match item {
        Item::Create(new) => B::create(tx, &new).await.map(|record| (StatusCode::CREATED, record)),
        Item::Update { id, expected, change } => {
            B::update(tx, id, expected, &change).await.map(|record| (StatusCode::OK, record))
        }
    };
    match done.map_err(Problem::from) {
        Ok(done) => Ok(Ok(done)),
        Err(problem) if problem.status().is_server_error() => Err(problem),
        Err(problem) => {
            tx.rollback_to_savepoint().await?;
            Ok(Err(problem))
        }
    }
}

impl<T> ItemResult<T> {
    fn new(index: usize, done: Result<(StatusCode, T), Problem>) -> Self {
        match done {
            Ok((status, record)) => Self { index, status: status.as_u16(), record: Some(record), problem: None },
            Err(problem) => {
                Self { index, status: problem.status().as_u16(), record: None, problem: Some(problem.body(None, None)) }
            }
        }
    }
}

/// The problem of the whole: that of each failed item, and all their places together.
fn rejected<T: Serialize>(results: Vec<ItemResult<T>>) -> Problem {
    let of = results.len();
    let failed: Vec<ItemResult<T>> = results.into_iter().filter(|result| result.problem.is_some()).collect();
    let detail = format!("{} of {of} item(s) failed, so nothing was done", failed.len());
    let mut problem = Problem::of(&codes::BULK_REJECTED).detail(detail).with("items", &failed);
    for failure in failed.iter().filter_map(|result| result.problem.as_ref()) {
        let errors = failure.extensions.get("errors").and_then(Value::as_array);
        for error in errors.into_iter().flatten() {
            if let (Some(pointer), Some(detail)) = (error["pointer"].as_str(), error["detail"].as_str()) {
                problem = problem.pointer(pointer, detail);
            }
        }
    }
    problem
}

fn place(index: usize) -> String {
    format!("/items/{index}")
}

fn parse<B: Bulk>(item: Value) -> Result<Item<B>, Problem> {
    let Value::Object(mut members) = item else { return Err(misshapen("", "an item must be an object")) };
    let op = members.remove("op");
    match op.as_ref().and_then(Value::as_str) {
        Some("create") => Ok(Item::Create(body(members)?)),
        Some("update") => {
            let id = members.remove("id").ok_or_else(|| misshapen("", "missing field `id`"))?;
            let id = id.as_str().ok_or_else(|| misshapen("/id", "must be a UUID"))?;
            let id = id.parse().map_err(|error: IdError| misshapen("/id", &error.to_string()))?;
            let change: Valid<B::Update> = body(members)?;
            let expected = B::version(&change).ok_or_else(|| {
                let detail = "name the version that the change is based on";
                Problem::of(&http_codes::VERSION_REQUIRED).pointer("/version", detail).detail(detail)
            })?;
            Ok(Item::Update { id, expected, change })
        }
        Some(_) => Err(misshapen("/op", "must be `create` or `update`")),
        None => Err(misshapen(if op.is_some() { "/op" } else { "" }, "`op` must say `create` or `update`")),
    }
}

fn body<T: DeserializeOwned + Validate>(members: Map<String, Value>) -> Result<Valid<T>, Problem> {
    Ok(from_value::<T>(Value::Object(members))?.validated()?)
}

fn misshapen(pointer: &str, detail: &str) -> Problem {
    Problem::of(&http_codes::INVALID_BODY).pointer(pointer, detail).detail(detail.to_owned())
}

/// The schema of the items: the bodies of the single operations, with what tells them apart.
pub(super) fn items<C: PartialSchema, U: PartialSchema>() -> impl Into<RefOr<Schema>> {
    let op = |word: &str| ObjectBuilder::new().schema_type(Type::String).enum_values(Some([word])).build();
    let id = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let create = with(C::schema(), [("op", op("create"))]);
    let update = with(U::schema(), [("op", op("update")), ("id", id.build())]);
    let item = OneOfBuilder::new().item(create).item(update);
    ArrayBuilder::new().items(item).min_items(Some(1)).max_items(Some(MAX_ITEMS)).build()
}

/// An object's schema with further members that must be there.
fn with<const N: usize>(schema: RefOr<Schema>, members: [(&str, Object); N]) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else { return schema };
    for (name, member) in members {
        object.properties.insert(name.to_owned(), member.into());
        object.required.push(name.to_owned());
    }
    RefOr::T(Schema::Object(object))
}
