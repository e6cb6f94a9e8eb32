//! Extractors whose refusals are problems.

use std::fmt::Display;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::codes;
use crate::problem::Problem;

/// A JSON body, in both directions. Refusals: 415, 413, 400 for what is not JSON, 422 with a pointer for what does not fit.
#[derive(Debug, Clone)]
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !says_json(request.headers()) {
            return Err(Problem::of(&codes::UNSUPPORTED_MEDIA_TYPE).detail("send `Content-Type: application/json`"));
        }
        if request.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            let detail = "send the body as it is, without `Content-Encoding`";
            return Err(Problem::of(&codes::UNSUPPORTED_MEDIA_TYPE).detail(detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::of(&codes::BODY_TOO_LARGE)
            } else {
                Problem::of(&codes::UNREADABLE_BODY).detail("the body could not be read to its end")
            }
        })?;
        must_be_object(&bytes)?;
        // the path to an error costs something to track, so it is looked for only when there is an error
        serde_json::from_slice(&bytes).map(Self).or_else(|_| parse_slowly(&bytes).map(Self))
    }
}

/// No body at all, and nothing that announces one, is `None`.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.headers().get(header::CONTENT_TYPE).is_none() && request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

impl<T: Serialize> IntoResponse for ApiJson<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = media.split_once('/') else { return false };
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json")
}

fn parse_slowly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut from).map_err(|error| misfit(&error))?;
    from.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// A part of a body that was read as JSON before. Refusal: 422 with a pointer below that part.
///
/// # Errors
/// `invalid_body`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| misfit(&error))
}

fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if !error.inner().is_data() {
        return not_json(error.inner());
    }
    let detail = for_callers(without_position(&error.inner().to_string()));
    Problem::of(&codes::INVALID_BODY).pointer(&json_pointer(error.path()), &detail).detail(detail)
}

/// A struct is read from an array as well, by the order of its fields, which is nobody's contract.
fn must_be_object(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return Ok(());
    }
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| not_json(&error))?;
    let detail = "the body must be a JSON object";
    Err(Problem::of(&codes::INVALID_BODY).pointer("", detail).detail(detail))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::of(&codes::INVALID_JSON).detail(error.to_string())
}

/// serde_json ends its messages with the position, which says nothing beside a pointer.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text)
}

/// A message ends with what was expected, in words of Rust; the caller gets it in words of JSON.
fn for_callers(message: &str) -> String {
    match message.rsplit_once(", expected ").and_then(|(said, expected)| Some((said, in_json(expected)?))) {
        Some((said, expected)) => format!("{said}, expected {expected}"),
        None => message.to_owned(),
    }
}

fn in_json(expected: &str) -> Option<String> {
    fn between(least: impl Display, most: impl Display) -> String {
        format!("a whole number from {least} to {most}")
    }
    Some(match expected {
        "i8" => between(i8::MIN, i8::MAX),
        "i16" => between(i16::MIN, i16::MAX),
        "i32" => between(i32::MIN, i32::MAX),
        "u8" => between(u8::MIN, u8::MAX),
        "u16" => between(u16::MIN, u16::MAX),
        "u32" => between(u32::MIN, u32::MAX),
        "i64" | "i128" | "isize" => "a whole number".to_owned(),
        "u64" | "u128" | "usize" => "a whole number that is not negative".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a map" => "an object".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a Decimal type representing a fixed-point number" => "an amount as a string, such as `\"12.5\"`".to_owned(),
        _ if expected.starts_with("struct ") => "an object".to_owned(),
        _ => return None,
    })
}

/// RFC 6901. An enum's variant is no place in the document.
fn json_pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// Query parameters. Refusal: 400 that names the parameter.
#[derive(Debug, Clone)]
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let from = || serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    T::deserialize(from()).or_else(|_| serde_path_to_error::deserialize(from())).map_err(|error| {
        let detail = error.inner().to_string();
        let problem = Problem::of(&codes::INVALID_QUERY);
        match error.path().iter().next() {
            Some(Segment::Map { key }) => problem.parameter(key, &detail).detail(format!("`{key}`: {detail}")),
            _ => problem.detail(detail),
        }
    })
}

/// A part of the path. Refusal: 400 that names it.
#[derive(Debug, Clone)]
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        use axum::extract::path::ErrorKind;
        use axum::extract::rejection::PathRejection;

        let rejection = match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => return Ok(Self(value)),
            Err(rejection) => rejection,
        };
        let PathRejection::FailedToDeserializePathParams(failed) = &rejection else {
            tracing::error!(target: "tenantry::http", %rejection, "a handler asks for parts that its path does not have");
            return Err(Problem::of(&codes::INTERNAL_ERROR));
        };
        let problem = Problem::of(&codes::INVALID_PATH);
        Err(match failed.kind() {
            ErrorKind::ParseErrorAtKey { key, value, expected_type } => {
                let detail = match in_json(expected_type) {
                    Some(expected) => format!("`{value}` is not {expected}"),
                    None => format!("`{value}` is not a `{expected_type}`"),
                };
                problem.parameter(key, &detail).detail(detail)
            }
            ErrorKind::DeserializeError { key, value, message } => {
                problem.parameter(key, message).detail(format!("`{value}`: {message}"))
            }
            kind @ (ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. }) => {
                tracing::error!(target: "tenantry::http", %kind, "a handler asks for parts that its path does not have");
                Problem::of(&codes::INTERNAL_ERROR)
            }
            kind => problem.detail(kind.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::DefaultBodyLimit;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NewTask {
        title: String,
        #[serde(default)]
        tags: Vec<Tag>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Tag {
        #[serde(rename = "a/b~c")]
        weight: u8,
    }

    async fn post(content_type: &str, body: &str) -> Result<NewTask, Problem> {
        let mut request =
            Request::post("/").header("content-type", content_type).body(Body::from(body.to_owned())).unwrap();
        DefaultBodyLimit::max(200).apply(&mut request);
        <ApiJson<NewTask> as FromRequest<()>>::from_request(request, &()).await.map(|ApiJson(task)| task)
    }

    async fn errors(body: &str) -> (&'static str, Value) {
        let problem = post("application/json", body).await.unwrap_err();
        (problem.code(), problem.body(None, None).extensions.remove("errors").unwrap_or_default())
    }

    #[tokio::test]
    async fn json_is_read() {
        for media in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert_eq!(post(media, r#"{"title":"x"}"#).await.unwrap().title, "x");
        }
    }

    #[tokio::test]
    async fn errors_point_into_the_body() {
        let (code, errors_of_tag) = errors(r#"{"title":"x","tags":[{"a/b~c":1},{"a/b~c":"heavy"}]}"#).await;
        assert_eq!(code, "invalid_body");
        assert_eq!(errors_of_tag[0]["pointer"], "/tags/1/a~1b~0c");
        assert_eq!(errors_of_tag[0]["detail"], "invalid type: string \"heavy\", expected a whole number from 0 to 255");
        assert_eq!(errors(r#"{"title":7}"#).await.1[0]["pointer"], "/title");
        assert_eq!(errors(r#"{}"#).await.1[0], json!({ "pointer": "", "detail": "missing field `title`" }));
        assert_eq!(errors(r#"{"title":"x","titel":"y"}"#).await.1[0]["pointer"], "/titel");
    }

    #[tokio::test]
    async fn a_body_is_an_object() {
        for other in [r#"["x",[]]"#, " [\"x\"]", "[]", "7", "\"x\"", "null", "true"] {
            let (code, errors) = errors(other).await;
            assert_eq!(code, "invalid_body", "{other}");
            assert_eq!(errors[0], json!({ "pointer": "", "detail": "the body must be a JSON object" }), "{other}");
        }
        assert_eq!(post("application/json", "\r\n\t {\"title\":\"x\"}").await.unwrap().title, "x");
    }

    #[tokio::test]
    async fn messages_speak_of_json() {
        let detail = async |body: &str| errors(body).await.1[0]["detail"].as_str().unwrap().to_owned();
        let tag = detail(r#"{"title":"x","tags":[7]}"#).await;
        assert_eq!(tag, "invalid type: integer `7`, expected an object");
        let heavy = detail(r#"{"title":"x","tags":[{"a/b~c":256}]}"#).await;
        assert_eq!(heavy, "invalid value: integer `256`, expected a whole number from 0 to 255");
        assert_eq!(detail(r#"{"title":"x","tags":7}"#).await, "invalid type: integer `7`, expected an array");
        let amount =
            for_callers("invalid type: integer `1`, expected a Decimal type representing a fixed-point number");
        assert_eq!(amount, "invalid type: integer `1`, expected an amount as a string, such as `\"12.5\"`");
        // what the caller sent stays as it is
        assert_eq!(for_callers("unknown field `a, expected u8`"), "unknown field `a, expected u8`");
    }

    #[tokio::test]
    async fn what_is_not_json_is_refused() {
        for bad in ["", "{", "{\"title\":\"x\"} trailing", "\u{0}", "{\"title\":\"x\",}"] {
            assert_eq!(errors(bad).await.0, "invalid_json", "{bad:?}");
        }
        for media in ["text/plain", "application/x-www-form-urlencoded", "json", ""] {
            assert_eq!(post(media, "{}").await.unwrap_err().code(), "unsupported_media_type", "{media}");
        }
        let mut compressed = Request::post("/").header("content-type", "application/json");
        compressed = compressed.header("content-encoding", "gzip");
        let refused =
            <ApiJson<NewTask> as FromRequest<()>>::from_request(compressed.body(Body::from("{}")).unwrap(), &());
        assert_eq!(refused.await.unwrap_err().code(), "unsupported_media_type");
        let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(300));
        assert_eq!(post("application/json", &large).await.unwrap_err().code(), "body_too_large");
    }

    #[test]
    fn query_errors_name_the_parameter() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Page {
            limit: Option<u8>,
        }
        assert_eq!(parse_query::<Page>("limit=5").unwrap().limit, Some(5));
        assert!(parse_query::<Page>("").unwrap().limit.is_none());
        for (query, parameter) in [("limit=many", "limit"), ("limit=300", "limit"), ("offset=1", "offset")] {
            let problem = parse_query::<Page>(query).unwrap_err();
            assert_eq!(problem.code(), "invalid_query");
            assert_eq!(problem.body(None, None).extensions["errors"][0]["parameter"], parameter, "{query}");
        }
    }
}
