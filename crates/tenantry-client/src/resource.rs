use std::fmt::Display;
use std::marker::PhantomData;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Call, Client, Filter, List};

/// A kind of record with an address of its own.
pub trait Resource {
    /// Where its collection is.
    const PATH: &'static str;
    /// What names one.
    type Id: Display + Copy;
    /// What the server gives.
    type Record: DeserializeOwned + Send + 'static;
}

/// Can be listed.
pub trait Listed: Resource {
    /// Which ones.
    type Filter: Filter;
    /// In what order.
    type Order: Display;
}

/// Can be made.
pub trait Create: Resource {
    /// The body that makes one.
    type New: Serialize;
}

/// Can be changed.
pub trait Change: Resource {
    /// The body that changes one.
    type Change: Serialize;
}

/// Can be deleted.
pub trait Delete: Resource {}

/// The operations on one kind of record.
#[derive(Debug)]
pub struct Collection<R> {
    pub(crate) client: Client,
    kind: PhantomData<fn() -> R>,
}

impl<R: Resource> Collection<R> {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client, kind: PhantomData }
    }

    pub(crate) fn at<T>(&self, method: Method, below: impl Display) -> Call<T> {
        self.client.call(method, format!("{}/{below}", R::PATH))
    }

    /// Reads one.
    pub fn get(&self, id: R::Id) -> Call<R::Record> {
        self.at(Method::GET, id)
    }

    /// Reads one unless it still has the version that the caller knows.
    pub fn get_unless(&self, id: R::Id, known: i64) -> Call<Option<R::Record>> {
        self.at(Method::GET, id).unless(known)
    }
}

impl<R: Listed> Collection<R> {
    /// Lists those that pass the filter.
    pub fn list(&self, filter: &R::Filter) -> List<R::Record, R::Order> {
        List::new(self.client.clone(), R::PATH.to_owned(), filter.parameters())
    }
}

impl<R: Create> Collection<R> {
    /// Makes one.
    pub fn create(&self, new: &R::New) -> Call<R::Record> {
        self.client.call(Method::POST, R::PATH).body(new)
    }
}

impl<R: Change> Collection<R> {
    /// Changes one that is still at this version; otherwise the refusal (`version_conflict`) brings it as it is now.
    pub fn update(&self, id: R::Id, version: i64, change: &R::Change) -> Call<R::Record> {
        self.at(Method::PATCH, id).version(version).body(change)
    }
}

impl<R: Delete> Collection<R> {
    /// Deletes one that is still at this version.
    pub fn delete(&self, id: R::Id, version: i64) -> Call<()> {
        self.at(Method::DELETE, id).version(version)
    }
}
