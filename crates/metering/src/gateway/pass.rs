//! From a request to a call.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;
use http_body_util::LengthLimitError;
use reqwest::Url;
use tenantry_http::{Problem, codes as http_codes};
use tenantry_postgres::TenantContext;
use tokio::sync::oneshot;

use super::accounts::Account;
use super::api::Operation;
use super::ask::Ask;
use super::attribution::Labels;
use super::run::Run;
use super::{Gateway, headers, refuse};
use crate::codes;

impl Gateway {
    /// Makes a call and gives its answer: whole, or as far as the head of a stream.
    pub(super) async fn pass(
        &self,
        context: TenantContext,
        operation: Operation,
        request: Request,
    ) -> Result<Response, Problem> {
        let place = self.inner.calls.clone().try_acquire_owned().map_err(|_| refuse::busy())?;
        let (parts, body) = request.into_parts();
        let api = operation.api();
        let labels = Labels::read(&parts.headers, api, context.id())?;
        let (ask, body) = if operation.is_read() {
            (Ask::default(), Bytes::new())
        } else {
            let body = self.whole(body).await?;
            (Ask::read(operation, &body)?, body)
        };
        let owner = (self.inner.owner(&context), &context);
        let found = self.inner.attributions.find(&self.inner.db, owner, labels.named).await?;
        let account = self.account(&context, api, labels.account.clone()).await?;
        let url = address(&account, operation, &parts.uri)?;
        let headers = headers::to_provider(&parts.headers, api, &account.provider, &account.credential);
        let attribution = labels.attribution(found, &context, account.id);
        let run = Run {
            retries: labels.retries.unwrap_or(self.inner.settings.retries),
            operation_id: labels.operation_id,
            first_attempt: labels.attempt,
            gateway: self.clone(),
            context,
            operation,
            // What the request is bounded by is what the client wrote; the edit adds nothing to count.
            asked_bytes: body.clone(),
            body: ask.body(body),
            ask,
            attribution,
            account,
            url,
            headers,
        };
        let (head, answer) = oneshot::channel();
        // A task of its own: when the client hangs up, this handler is dropped, and the call goes on.
        self.inner.tasks.spawn(async move {
            run.go(head).await;
            drop(place);
        });
        // It ends without an answer only by a panic, which has been reported.
        answer.await.unwrap_or_else(|_| Err(Problem::of(&http_codes::INTERNAL_ERROR)))
    }

    async fn whole(&self, body: Body) -> Result<Bytes, Problem> {
        let settings = &self.inner.settings;
        let read = tokio::time::timeout(settings.body_timeout, axum::body::to_bytes(body, settings.body_limit));
        let read = read.await.map_err(|_| {
            let detail = format!("the body did not arrive within {} s", settings.body_timeout.as_secs());
            Problem::of(&http_codes::REQUEST_TIMEOUT).detail(detail)
        })?;
        read.map_err(|error| {
            let too_large = std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>());
            if too_large {
                let detail = format!("the body may have at most `{}` bytes", settings.body_limit);
                Problem::of(&http_codes::BODY_TOO_LARGE).detail(detail)
            } else {
                Problem::of(&http_codes::UNREADABLE_BODY).detail("the body did not arrive whole")
            }
        })
    }
}

/// Where a call goes: the same path behind the provider's base address, and nowhere that a path can lead to by being read differently.
fn address(account: &Account, operation: Operation, uri: &Uri) -> Result<Url, Problem> {
    let tail = uri.path().strip_prefix(operation.api().prefix()).unwrap_or_default();
    let written = format!("{}{tail}", account.base);
    let mut url = Url::parse(&written)
        .ok()
        .filter(|url| url.as_str() == written && is_one_reading(tail))
        .ok_or_else(|| Problem::of(&http_codes::NOT_FOUND))?;
    match (uri.query(), &account.api_version) {
        (given, Some(version)) => {
            url.set_query(given);
            url.query_pairs_mut().append_pair("api-version", version);
        }
        (given, None) => url.set_query(given),
    }
    if url.query_pairs().any(|(name, value)| [name, value].iter().any(|text| headers::holds_key(text.as_bytes()))) {
        let detail = "the query holds a tenant's key, which would go to the provider; send it in a header";
        return Err(Problem::of(&codes::INVALID_CALL).detail(detail));
    }
    Ok(url)
}

/// Whether a path stays the same path when whoever is behind decodes it, once or more: a model's name may have a slash, `meta%2Fllama`, but no
/// name leads upwards. Letters, digits and dots need no escape, so nobody means one that hides them.
fn is_one_reading(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2f", "/");
    !["%2e", "%5c", "%25", "\\"].iter().any(|hidden| path.contains(hidden))
        && path.split('/').all(|segment| segment != "." && segment != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_in_one_way() {
        for fine in
            ["/models/gpt-4o-mini", "/models/meta%2FLlama-3.1-8b", "/models/ft:gpt-4o:acme::a.b", "/models/a%3fb%23c"]
        {
            assert!(is_one_reading(fine), "{fine}");
        }
        let hidden =
            ["..%2flog", "..%2F..%2Flog", "%2e%2e%2flog", "a%2f..%5cb", "%252e%252e%252flog", "a%2f.%2fb", "a\\b"];
        for path in hidden {
            assert!(!is_one_reading(&format!("/models/{path}")), "{path}");
        }
    }
}
