//! AWS Secrets Manager: a secret whose text is a ring of master keys.
//!
//! One request is all that is needed of it, `GetSecretValue`, so it is signed here (Signature Version 4, by AWS's own crate) and
//! sent like any other; the whole SDK would be most of this program's build.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tenantry_core::Clock;
use zeroize::Zeroizing;

use super::MasterKeyError;
use crate::settings::AwsConfig;

const TARGET: &str = "secretsmanager.GetSecretValue";
/// Where the agents of ECS answer.
const CONTAINER: &str = "http://169.254.170.2";

pub(crate) struct SecretsManager {
    config: AwsConfig,
    endpoint: Url,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretsManager({}, {})", self.endpoint, self.config.secret_id)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerCredentials {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

impl SecretsManager {
    pub(crate) fn new(config: &AwsConfig, clock: Arc<dyn Clock>) -> Result<Self, MasterKeyError> {
        let region = !config.region.is_empty()
            && config.region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !region || config.secret_id.is_empty() {
            return Err(MasterKeyError::Unusable("`secrets.aws` names no region or no secret".to_owned()));
        }
        let suffix = if config.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = config.endpoint.clone();
        let endpoint = endpoint.unwrap_or_else(|| format!("https://secretsmanager.{}.{suffix}/", config.region));
        let endpoint = Url::parse(&endpoint)
            .map_err(|_| MasterKeyError::Unusable(format!("`{endpoint}` is not the address of Secrets Manager")))?;
        let client = Client::builder()
            .timeout(config.timeout)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| MasterKeyError::Unusable(error.to_string()))?;
        Ok(Self { config: config.clone(), endpoint, client, clock })
    }

    pub(crate) fn name(&self) -> String {
        format!("the secret `{}`", self.config.secret_id)
    }

    /// The secret's text.
    pub(crate) async fn value(&self) -> Result<Zeroizing<String>, MasterKeyError> {
        let unavailable = |what: &str| MasterKeyError::Unavailable(format!("Secrets Manager: {what}"));
        let body = json!({ "SecretId": self.config.secret_id }).to_string();
        let credentials = self.credentials().await?;
        let signed = self.sign(&credentials, &body)?;
        let mut request = self.client.post(self.endpoint.clone()).body(body);
        for (name, value) in plain_headers() {
            request = request.header(name, value);
        }
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| unavailable(&error.without_url().to_string()))?;
        let status = answer.status();
        let mut document: Value =
            answer.json().await.map_err(|_| unavailable(&format!("{status} without a document")))?;
        if !status.is_success() {
            let kind = document["__type"].as_str().unwrap_or("no reason given").to_owned();
            return Err(unavailable(&format!("{status}: {kind}")));
        }
        match document["SecretString"].take() {
            Value::String(text) => Ok(Zeroizing::new(text)),
            _ => Err(MasterKeyError::Unusable(format!("{} is not a text", self.name()))),
        }
    }

    fn sign(&self, credentials: &Credentials, body: &str) -> Result<Vec<(String, String)>, MasterKeyError> {
        let unusable = |error: String| MasterKeyError::Unusable(format!("the request cannot be signed: {error}"));
        let identity = credentials.clone().into();
        let since = Duration::from_millis(u64::try_from(self.clock.now().timestamp_millis()).unwrap_or(0));
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.config.region)
            .name("secretsmanager")
            .time(SystemTime::UNIX_EPOCH + since)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unusable(error.to_string()))?
            .into();
        let headers = plain_headers();
        let signable = SignableRequest::new(
            "POST",
            self.endpoint.as_str(),
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|error| unusable(error.to_string()))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| unusable(error.to_string()))?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// From the environment, or from the agent that a container of ECS or EKS (Pod Identity) is told of.
    async fn credentials(&self) -> Result<Credentials, MasterKeyError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            return Ok(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment"));
        }
        let agent = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
        let Some(agent) = agent.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else {
            return Err(MasterKeyError::Unusable(
                "there are no AWS credentials: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor a container's"
                    .to_owned(),
            ));
        };
        let token = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned()),
            None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let mut request = self.client.get(agent);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let failed = |error: reqwest::Error| {
            MasterKeyError::Unavailable(format!("the container's credentials: {}", error.without_url()))
        };
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let given: ContainerCredentials = answer.json().await.map_err(failed)?;
        Ok(Credentials::new(given.access_key_id, given.secret_access_key, given.token, None, "container"))
    }
}

fn plain_headers() -> [(&'static str, &'static str); 2] {
    [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", TARGET)]
}
