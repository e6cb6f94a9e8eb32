use std::borrow::Cow;

use futures_util::stream::{Stream, StreamExt as _, unfold};
use reqwest::{Method, Response};

use crate::call::refused;
use crate::list::Query;
use crate::{Client, Error};

/// A file of any length, read as it comes.
#[derive(Debug)]
#[must_use = "a file is read by `stream`"]
pub struct Download {
    client: Client,
    path: String,
    query: Query,
}

impl Download {
    /// Adds a parameter of the query.
    pub fn query(mut self, name: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// Asks for the file, and gives its parts as they come. What is repeated is the asking: a file that breaks off ends in an error, for what
    /// was read of it is not the whole. A part may take as long as the client's timeout.
    ///
    /// # Errors
    /// As of a call, before the first part.
    pub async fn stream(self) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + Send + Unpin + 'static, Error> {
        let retry = self.client.inner.retry;
        let mut attempt = 0;
        let response = loop {
            let error = match self.open().await {
                Ok(response) => break response,
                Err(error) => error,
            };
            let Some(pause) = retry.pause(&error, true, attempt, rand::random()) else { return Err(error) };
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        let parts = unfold(Some((self, response)), |state| async move {
            let (download, mut response) = state?;
            let limit = download.client.inner.timeout;
            match tokio::time::timeout(limit, response.chunk()).await {
                Ok(Ok(Some(part))) => Some((Ok(part.into()), Some((download, response)))),
                Ok(Ok(None)) => None,
                Ok(Err(error)) => Some((Err(download.lost(error)), None)),
                Err(_) => Some((Err(Error::Silence(limit)), None)),
            }
        });
        Ok(parts.boxed())
    }

    async fn open(&self) -> Result<Response, Error> {
        let limit = self.client.inner.timeout;
        let request = self.client.inner.http.get(self.client.url(&self.path, &self.query));
        let sent = tokio::time::timeout(limit, request.send()).await.map_err(|_| Error::Silence(limit))?;
        let response = sent.map_err(|error| self.lost(error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    fn lost(&self, source: reqwest::Error) -> Error {
        Error::Transport { method: Method::GET, path: self.path.clone(), source: source.without_url() }
    }
}

impl Client {
    /// Any file of the API. The path begins with `/v1/`.
    pub fn download(&self, path: impl Into<String>) -> Download {
        Download { client: self.clone(), path: path.into(), query: Query::new() }
    }
}
