use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::list::Query;
use crate::retry::is_repeatable;
use crate::{ApiError, Client, Error};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REQUEST_ID: &str = "x-request-id";

/// One operation, sent when it is awaited.
#[derive(Debug)]
#[must_use = "a call is sent when it is awaited"]
pub struct Call<R> {
    client: Client,
    method: Method,
    path: String,
    query: Query,
    body: Result<Option<Vec<u8>>, serde_json::Error>,
    version: Option<i64>,
    known: Option<i64>,
    key: Option<String>,
    result: PhantomData<fn() -> R>,
}

impl<R> Call<R> {
    pub(crate) fn new(client: Client, method: Method, path: String) -> Self {
        // a request under a key may be repeated, so each has one; a key per call, not per attempt
        let key = (method == Method::POST).then(|| Uuid::new_v4().to_string());
        Self {
            client,
            method,
            path,
            query: Vec::new(),
            body: Ok(None),
            version: None,
            known: None,
            key,
            result: PhantomData,
        }
    }

    /// Sends a body.
    pub fn body(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        self.body = serde_json::to_vec(body).map(Some);
        self
    }

    /// Adds a parameter of the query.
    pub fn query(mut self, name: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// The version that a change is based on, as `If-Match`.
    pub const fn version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    pub(crate) const fn unless(mut self, known: i64) -> Self {
        self.known = Some(known);
        self
    }

    /// Uses this `Idempotency-Key` rather than a random one, so that the call can be repeated by another process or after a restart: it has
    /// one effect within a day. Only a `POST` has a key.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        if self.method == Method::POST {
            self.key = Some(key.into());
        }
        self
    }

    fn request(&self) -> Result<RequestBuilder, Error> {
        let url = self.client.url(&self.path, &self.query);
        let mut request = self.client.inner.http.request(self.method.clone(), url).timeout(self.client.inner.timeout);
        if let Some(version) = self.version {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some(version) = self.known {
            request = request.header(IF_NONE_MATCH, format!("\"{version}\""));
        }
        if let Some(key) = &self.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        match &self.body {
            Ok(None) => Ok(request),
            Ok(Some(body)) => Ok(request.header(CONTENT_TYPE, "application/json").body(body.clone())),
            Err(error) => Err(Error::Body(serde::ser::Error::custom(error))),
        }
    }

    fn lost(&self, source: reqwest::Error) -> Error {
        // the URL would stand twice in the message
        Error::Transport { method: self.method.clone(), path: self.path.clone(), source: source.without_url() }
    }

    async fn attempt(&self) -> Result<Vec<u8>, Error> {
        let response = self.request()?.send().await.map_err(|error| self.lost(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| self.lost(error))?;
        if status.is_success() || status == 304 {
            return Ok(body.into());
        }
        Err(refusal(status.as_u16(), &headers, &body))
    }

    async fn send(self) -> Result<R, Error>
    where
        R: DeserializeOwned,
    {
        let repeatable = is_repeatable(&self.method, self.key.is_some());
        let retry = self.client.inner.retry;
        let mut attempt = 0;
        let body = loop {
            let error = match self.attempt().await {
                Ok(body) => break body,
                Err(error) => error,
            };
            let Some(pause) = retry.pause(&error, repeatable, attempt, rand::random()) else { return Err(error) };
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        // no body is read as `null`: of a deletion, or of a record that is known already
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|source| Error::Answer { method: self.method, path: self.path, source })
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for Call<R> {
    type Output = Result<R, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The refusal that a response is; its body is read as far as it comes.
pub(crate) async fn refused(response: Response) -> Error {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.unwrap_or_default();
    refusal(status, &headers, &body)
}

fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let after = text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    Error::Api(Box::new(ApiError::read(status, after, text(REQUEST_ID), body)))
}
