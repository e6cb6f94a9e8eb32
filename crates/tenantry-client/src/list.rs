use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use reqwest::Method;
use serde::de::DeserializeOwned;
use workforce::Page;

use crate::{Call, Client, Error};

/// Parameters of a query.
pub(crate) type Query = Vec<(Cow<'static, str>, String)>;

/// A list to be read, page by page or as a stream.
#[derive(Debug)]
#[must_use = "a list is read by `page`, `stream` or `all`"]
pub struct List<T, O = &'static str> {
    client: Client,
    path: String,
    query: Query,
    of: PhantomData<fn(O) -> T>,
}

impl<T: DeserializeOwned + Send + 'static, O: Display> List<T, O> {
    pub(crate) fn new<N: Into<Cow<'static, str>>>(
        client: Client,
        path: String,
        query: impl IntoIterator<Item = (N, String)>,
    ) -> Self {
        let query = query.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { client, path, query, of: PhantomData }
    }

    /// The order; the newest first unless set.
    pub fn sort(mut self, order: O) -> Self {
        self.query.push(("sort".into(), order.to_string()));
        self
    }

    /// How many rows a page has, 1 to 200.
    pub fn page_size(mut self, rows: u8) -> Self {
        self.query.push(("limit".into(), rows.to_string()));
        self
    }

    /// The page that begins at a cursor, which is `next_cursor` of the page before; the first one without.
    pub fn page(&self, cursor: Option<&str>) -> Call<Page<T>> {
        fetch(&self.client, &self.path, &self.query, cursor)
    }

    /// All rows; each page is read when the one before is used up.
    pub fn stream(self) -> impl Stream<Item = Result<T, Error>> + Send + Unpin + 'static {
        let Self { client, path, query, of: _ } = self;
        let pages = stream::try_unfold(Some(None::<String>), move |cursor| {
            let page = cursor.map(|cursor| fetch::<T>(&client, &path, &query, cursor.as_deref()));
            async move {
                let Some(page) = page else { return Ok(None) };
                let page = page.await?;
                let rows = stream::iter(page.data.into_iter().map(Ok));
                Ok::<_, Error>(Some((rows, page.next_cursor.map(Some))))
            }
        });
        pages.try_flatten().boxed()
    }

    /// All rows at once.
    ///
    /// # Errors
    /// As the calls for the pages.
    pub async fn all(self) -> Result<Vec<T>, Error> {
        self.stream().try_collect().await
    }
}

fn fetch<T>(client: &Client, path: &str, query: &Query, cursor: Option<&str>) -> Call<Page<T>> {
    let call = client.call(Method::GET, path);
    let call = query.iter().fold(call, |call, (name, value)| call.query(name.clone(), value));
    cursor.into_iter().fold(call, |call, cursor| call.query("cursor", cursor))
}
