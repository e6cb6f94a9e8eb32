use axum::http::HeaderMap;

use crate::problem::ProblemBody;

/// Paths on which another API is spoken: its requests may be larger and its answers longer than ours, and whoever calls it reads errors
/// in its shape.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// What these paths begin with, such as `/llm/`.
    pub prefix: &'static str,
    /// The largest request body in bytes.
    pub body_limit: usize,
    /// Writes a problem as that API writes errors, for a path: gives the body, and sets the headers that belong to it.
    pub error: fn(path: &str, problem: &ProblemBody, headers: &mut HeaderMap) -> Vec<u8>,
}
