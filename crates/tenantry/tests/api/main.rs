//! The endpoints over HTTP; the modules mirror the URLs.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod audit;
mod browser;
mod company;
mod health;
mod llm;
mod metering;
mod oauth;
mod openapi_json;
mod permissions;
mod rate_limits;
mod ready;
mod reports;
mod v1;
