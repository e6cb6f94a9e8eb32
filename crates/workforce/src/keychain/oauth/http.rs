//! How the crate that knows the protocol sends its requests.

use std::future::Future;
use std::pin::Pin;

use oauth2::{HttpRequest, HttpResponse};

/// More than any token response has.
const MAX_ANSWER: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it cannot be reached: {0}")]
    Reach(reqwest::Error),
    #[error("its answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("its answer is not HTTP")]
    Http(#[from] axum::http::Error),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Reach(error.without_url())
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send>>;

/// Sends with a client that follows no redirects: a token request that is sent on would take the client's secret along.
pub(super) fn sender(client: &reqwest::Client) -> impl Fn(HttpRequest) -> Sending + use<> {
    let client = client.clone();
    move |request| {
        let client = client.clone();
        Box::pin(async move {
            let mut response = client.execute(reqwest::Request::try_from(request)?).await?;
            let mut answer = axum::http::Response::builder().status(response.status());
            for (name, value) in response.headers() {
                answer = answer.header(name, value);
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > MAX_ANSWER {
                    return Err(Failure::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(answer.body(body)?)
        })
    }
}
