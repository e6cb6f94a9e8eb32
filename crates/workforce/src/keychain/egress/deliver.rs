use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request};

use super::check::url;
use super::send::failed;
use super::{Egress, EgressError};

/// A message to an address of a company's own, which takes it or not.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The host that it goes to, with a port if it is not 443.
    pub service: &'a str,
    /// Path and query there.
    pub path: &'a str,
    /// Headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: String,
}

impl Egress {
    /// Posts a message under the rules of every request that goes out, and gives the receiver's status. The answer's body is not read.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn deliver(&self, delivery: &Delivery<'_>) -> Result<u16, EgressError> {
        self.admits(delivery.service)?;
        let refused = |what: &str| EgressError::Refused(what.to_owned());
        let url =
            url(delivery.service, delivery.path).ok_or_else(|| refused("the path does not lead to the service"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in delivery.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("a header has no valid name"))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| refused("a header has no valid value"))?);
        }
        let mut request = Request::new(Method::POST, url);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(delivery.body.clone().into());
        let response = self.client.execute(request).await.map_err(failed)?;
        Ok(response.status().as_u16())
    }
}
