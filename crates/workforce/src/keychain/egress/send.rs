use std::collections::BTreeMap;
use std::error::Error as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::check::{is_hop_by_hop, url};
use super::resolve::NotPublic;
use super::scrub::Scrubber;
use super::{Egress, EgressError};
use crate::credential::{Injection, ServiceAnswer, UseCredential, UseMethod, VALUE};

/// A request to a service, complete.
pub struct Outgoing<'a> {
    /// The only host that it goes to.
    pub service: &'a str,
    /// How the value gets in.
    pub injection: &'a Injection,
    /// The value.
    pub value: &'a SecretString,
    /// What is asked.
    pub request: &'a UseCredential,
}

impl std::fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({:?} to {})", self.request.method, self.service)
    }
}

impl Egress {
    /// Sends a request with a credential and reads the answer, without the credential's value.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn send(&self, outgoing: &Outgoing<'_>) -> Result<ServiceAnswer, EgressError> {
        self.admits(outgoing.service)?;
        let request = self.request(outgoing)?;
        let response = self.client.execute(request).await.map_err(failed)?;
        let scrubber = Scrubber::of(outgoing.value);
        self.answer(response, &scrubber).await
    }

    fn request(&self, outgoing: &Outgoing<'_>) -> Result<reqwest::Request, EgressError> {
        let Outgoing { service, injection, value, request } = outgoing;
        let refused = |what: &str| EgressError::Refused(what.to_owned());
        let mut url = url(service, &request.path).ok_or_else(|| refused("the path does not lead to the service"))?;
        let mut headers = HeaderMap::new();
        for (name, text) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("a header has no valid name"))?;
            let text = HeaderValue::from_str(text).map_err(|_| refused("a header has no valid value"))?;
            headers.insert(name, text);
        }
        let body = match (&request.json, &request.body) {
            (Some(json), _) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(json.to_string())
            }
            (None, body) => body.clone(),
        };
        // After the caller's, so that these win.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match injection {
            Injection::Bearer => {
                headers.insert(AUTHORIZATION, sensitive(&format!("Bearer {VALUE}"), value)?);
            }
            Injection::Header { name, template } => {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| refused("the credential's header is not valid"))?;
                headers.insert(name, sensitive(template, value)?);
            }
            Injection::Query { name } => {
                url.query_pairs_mut().append_pair(name, value.expose_secret());
            }
        }
        let mut built = reqwest::Request::new(method(request.method), url);
        *built.headers_mut() = headers;
        *built.body_mut() = body.map(Into::into);
        Ok(built)
    }

    async fn answer(&self, mut response: Response, scrubber: &Scrubber) -> Result<ServiceAnswer, EgressError> {
        let encoded = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        if encoded {
            return Err(EgressError::Answer("it is compressed although it was asked not to be".to_owned()));
        }
        let status = response.status().as_u16();
        let headers = answered(response.headers(), scrubber);
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.max_answer {
                return Err(EgressError::Answer(format!("it is larger than {} bytes", self.max_answer)));
            }
            body.extend_from_slice(&chunk);
        }
        let body = scrubber.clean(&body);
        let (body, encoding) = match String::from_utf8(body) {
            Ok(text) => (text, "text"),
            Err(error) => (STANDARD.encode(error.as_bytes()), "base64"),
        };
        Ok(ServiceAnswer { status, headers, body, encoding: encoding.into() })
    }
}

fn sensitive(template: &str, value: &SecretString) -> Result<HeaderValue, EgressError> {
    let text = Zeroizing::new(template.replace(VALUE, value.expose_secret()));
    let mut header = HeaderValue::from_str(&text)
        .map_err(|_| EgressError::Refused("the credential's value does not fit into a header".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

const fn method(method: UseMethod) -> Method {
    match method {
        UseMethod::Get => Method::GET,
        UseMethod::Head => Method::HEAD,
        UseMethod::Post => Method::POST,
        UseMethod::Put => Method::PUT,
        UseMethod::Patch => Method::PATCH,
        UseMethod::Delete => Method::DELETE,
    }
}

/// The service's headers for the caller: none of the connection, no cookies, nothing with the secret in its name.
fn answered(headers: &HeaderMap, scrubber: &Scrubber) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        if is_hop_by_hop(name) || name == "set-cookie" || name == "content-length" || scrubber.finds(name.as_bytes()) {
            continue;
        }
        let value = scrubber.clean(value.as_bytes());
        let value = String::from_utf8_lossy(&value).into_owned();
        out.entry(name.to_owned()).and_modify(|all| all.push_str(&format!(", {value}"))).or_insert(value);
    }
    out
}

/// The library's error without the URL, which may hold the secret.
pub(super) fn failed(error: reqwest::Error) -> EgressError {
    if error.is_timeout() {
        return EgressError::Timeout;
    }
    let error = error.without_url();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotPublic>() {
            return EgressError::Refused(refused.to_string());
        }
        cause = inner.source();
    }
    tracing::debug!(target: "tenantry::egress", error = &error as &dyn std::error::Error, "a service was not reached");
    let what = if error.is_connect() { "no connection was made" } else { "the connection broke" };
    EgressError::Unreachable(what.to_owned())
}
