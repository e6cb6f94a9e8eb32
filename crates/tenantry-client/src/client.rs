use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use crate::{Call, Error, List, Retry};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AGENT: &str = concat!("tenantry-client/", env!("CARGO_PKG_VERSION"));

/// A client of one tenant. It is cheap to clone, and its clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    base: Url,
    pub(crate) timeout: Duration,
    pub(crate) retry: Retry,
}

/// What a client is made of.
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    url: String,
    headers: Result<HeaderMap, Error>,
    timeout: Duration,
    retry: Retry,
}

impl Client {
    /// A client for a server's base URL with a credential of the tenant: an API key, or a token of its identity provider.
    pub fn builder(url: impl Into<String>, credential: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            headers: headers(credential),
            timeout: Duration::from_secs(30),
            retry: Retry::default(),
        }
    }

    /// Any operation of the API, also one that has no function here. The path begins with `/v1/`.
    pub fn call<R>(&self, method: Method, path: impl Into<String>) -> Call<R> {
        Call::new(self.clone(), method, path.into())
    }

    /// Any list of the API, with parameters of the query. The path begins with `/v1/`.
    pub fn list<T: DeserializeOwned + Send + 'static>(
        &self,
        path: impl Into<String>,
        query: impl IntoIterator<Item = (String, String)>,
    ) -> List<T> {
        List::new(self.clone(), path.into(), query)
    }

    pub(crate) fn url(&self, path: &str, query: &[(Cow<'static, str>, String)]) -> Url {
        let mut url = self.inner.base.clone();
        let (path, given) = path.split_once('?').unwrap_or((path, ""));
        url.set_path(&format!("{}{path}", self.inner.base.path().trim_end_matches('/')));
        url.set_query((!given.is_empty()).then_some(given));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl ClientBuilder {
    /// How long one attempt of a call may take, 30 seconds unless set. A stream of events is not bound by it.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How calls are repeated.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Names the tenant as well as the credential does; the server refuses when the two differ.
    pub fn tenant(mut self, slug: &str) -> Self {
        if let Ok(headers) = &mut self.headers {
            match HeaderValue::from_str(slug) {
                Ok(slug) => _ = headers.insert("x-tenant-slug", slug),
                Err(_) => self.headers = Err(Error::Setup(format!("`{}` is no slug", slug.escape_debug()))),
            }
        }
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`Error::Setup`] when the URL or the credential cannot be one.
    pub fn build(self) -> Result<Client, Error> {
        let wrong = || Error::Setup(format!("`{}` is no base URL; one looks like `https://api.example.com`", self.url));
        let base = Url::parse(&self.url).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong());
        }
        let http = reqwest::Client::builder()
            .default_headers(self.headers?)
            .user_agent(AGENT)
            .connect_timeout(Duration::from_secs(10))
            // the API answers with none, and a credential is not to be carried elsewhere
            .redirect(Policy::none())
            .build()
            .map_err(|error| Error::Setup(format!("no client can be made: {error}")))?;
        Ok(Client { inner: Arc::new(Inner { http, base, timeout: self.timeout, retry: self.retry }) })
    }
}

fn headers(credential: &str) -> Result<HeaderMap, Error> {
    let credential = credential.trim();
    // what is wrong with it is not shown: it is a secret
    let wrong = |_| Error::Setup("the credential has characters that no credential has".to_owned());
    if credential.is_empty() {
        return Err(Error::Setup("the credential is empty".to_owned()));
    }
    let is_token = credential.matches('.').count() == 2;
    let (name, text) = if is_token {
        (reqwest::header::AUTHORIZATION, format!("Bearer {credential}"))
    } else {
        (API_KEY, credential.to_owned())
    };
    let mut value = HeaderValue::from_str(&text).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(name, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_below_the_base() {
        let url = |base: &str| {
            let client = Client::builder(base, "tnk_x").build().unwrap();
            client
                .url("/v1/tasks", &[("q".into(), "a&b".into()), ("status".into(), "pending,blocked".into())])
                .to_string()
        };
        let query = "q=a%26b&status=pending%2Cblocked";
        assert_eq!(url("http://h:1"), format!("http://h:1/v1/tasks?{query}"));
        assert_eq!(url("https://h/behind/proxy/"), format!("https://h/behind/proxy/v1/tasks?{query}"));
    }

    #[test]
    fn what_cannot_work_is_told_before_anything_is_sent() {
        for (url, key) in
            [("h:80", "k"), ("ftp://h", "k"), ("http://h?x=1", "k"), ("http://h", " "), ("http://h", "k\u{1}")]
        {
            assert!(matches!(Client::builder(url, key).build(), Err(Error::Setup(_))), "{url} {key:?}");
        }
    }

    #[test]
    fn the_credential_is_not_printed() {
        let client = Client::builder("http://h", "tnk_secret").build().unwrap();
        assert!(!format!("{client:?}").contains("tnk_secret"));
        assert!(!format!("{:?}", Client::builder("http://h", "tnk_secret")).contains("tnk_secret"));
    }
}
