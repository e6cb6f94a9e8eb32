//! Ids, limits, the safety net, headers and the log.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tenantry_http::{ApiJson, HttpConfig, RequestInfo};

use crate::logs::Logs;
use crate::{Inside, Running, Stay, client, eventually};

const SECRET: &str = "password of tnt_0123";

fn routes(inside: &Inside) -> Router {
    let (waiting, reading) = (inside.clone(), inside.clone());
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/cached", get(|| async { ([(header::CACHE_CONTROL, "max-age=60")], "cached") }))
        .route("/id", get(|info: RequestInfo| async move { info.id().to_string() }))
        .route("/bytes", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/json", post(|ApiJson(body): ApiJson<Value>| async move { axum::Json(body) }))
        .route(
            "/panic",
            get(|| async {
                if SECRET.is_empty() {
                    return "quiet";
                }
                panic!("{SECRET}")
            }),
        )
        .route(
            "/wait",
            get(move || async move {
                let _stay = Stay::begin(&waiting);
                std::future::pending::<&str>().await
            }),
        )
        .route(
            "/read",
            post(move |body: Bytes| async move {
                let _stay = Stay::begin(&reading);
                body.len().to_string()
            }),
        )
}

async fn running(change: impl FnOnce(&mut HttpConfig)) -> (Running, Inside) {
    let mut config = HttpConfig::default();
    change(&mut config);
    let inside = Inside::default();
    (Running::start(routes(&inside), config).await, inside)
}

async fn problem(response: reqwest::Response) -> Value {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["request_id"], id, "the body names the request as the header does");
    body
}

#[tokio::test]
async fn a_request_keeps_an_acceptable_id_and_gets_one_otherwise() {
    let (server, _) = running(|_| {}).await;
    let ask = |id: Option<&str>| {
        let request = client().get(server.url("/id"));
        id.map_or_else(|| client().get(server.url("/id")), |id| request.header("x-request-id", id)).send()
    };
    let kept = ask(Some("trace-1.A_b")).await.unwrap();
    assert_eq!(kept.headers()["x-request-id"], "trace-1.A_b");
    assert_eq!(kept.text().await.unwrap(), "trace-1.A_b", "the handler sees the same");
    let long = "a".repeat(129);
    for bad in [None, Some(""), Some("a b"), Some("a\tb"), Some("\"x\""), Some("a;b"), Some(long.as_str())] {
        let made = ask(bad).await.unwrap();
        let id = made.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.len() == 36 && Some(id.as_str()) != bad, "{bad:?} became {id}");
        assert_eq!(made.text().await.unwrap(), id);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let (server, _) = running(|_| {}).await;
    let missing = client().get(server.url("/nowhere?secret=1")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    let body = problem(missing).await;
    assert_eq!((&body["code"], &body["instance"]), (&json!("route_not_found"), &json!("/nowhere")));
    let wrong = client().delete(server.url("/hello")).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"GET,HEAD".parse().unwrap()));
    assert_eq!(problem(wrong).await["code"], "method_not_allowed");
    let head = client().head(server.url("/nowhere")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.text().await.unwrap()), (404, String::new()));
}

#[tokio::test]
async fn answers_are_not_sniffed_and_not_stored_unless_a_handler_says_so() {
    let (server, _) = running(|_| {}).await;
    for (path, caching) in [("/hello", "no-store"), ("/nowhere", "no-store"), ("/cached", "max-age=60")] {
        let answer = client().get(server.url(path)).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers()["cache-control"], caching, "{path}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_announced_or_not() {
    let (server, inside) = running(|config| config.body_limit = 1000).await;
    for path in ["/bytes", "/json", "/read"] {
        let large = client().post(server.url(path)).header("content-type", "application/json").body("x".repeat(1001));
        let answer = large.send().await.unwrap();
        assert_eq!(answer.status(), 413, "{path}");
        assert_eq!(problem(answer).await["code"], "body_too_large");
    }
    let chunked = |path: &str, size: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
             Connection: close\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n",
            "1".repeat(size)
        )
    };
    for path in ["/bytes", "/json", "/read"] {
        let answer = server.raw(chunked(path, 1001).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
    }
    assert!(server.raw(chunked("/json", 1001).as_bytes()).await.contains("body_too_large"));
    assert_eq!(inside.count(), 0);
    let fits = client().post(server.url("/bytes")).body("x".repeat(1000)).send().await.unwrap();
    assert_eq!(fits.text().await.unwrap(), "1000");
    assert!(server.raw(chunked("/bytes", 1000).as_bytes()).await.ends_with("1000"));
}

#[tokio::test]
async fn a_request_says_which_host_it_is_for() {
    let (server, _) = running(|_| {}).await;
    let answer = async |head: &str| server.raw(format!("GET {head}Connection: close\r\n\r\n").as_bytes()).await;
    let without = answer("/hello HTTP/1.1\r\n").await;
    assert!(without.starts_with("HTTP/1.1 400") && without.contains("invalid_host"), "{without}");
    for fine in ["/hello HTTP/1.1\r\nHost: x\r\n", "http://x/hello HTTP/1.1\r\n", "/hello HTTP/1.0\r\n"] {
        let answer = answer(fine).await;
        assert!(answer.contains(" 200 "), "{fine}: {answer}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_cancelled() {
    let (logs, _guard) = Logs::catch();
    let (server, inside) = running(|config| config.request_timeout = Duration::from_millis(50)).await;
    let late = client().get(server.url("/wait")).header("x-request-id", "late-1").send().await.unwrap();
    assert_eq!(late.status(), 504);
    let body = problem(late).await;
    assert_eq!((&body["code"], &body["detail"]), (&json!("request_timeout"), &json!("no answer within 50 ms")));
    assert_eq!(inside.count(), 0, "the handler does not run on");
    assert_eq!(logs.with(&["tenantry::access", "late-1", "504", "request_timeout"]).len(), 1);
    // a body that never comes is no reason to wait either
    let slow = server.raw(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nab").await;
    assert!(slow.starts_with("HTTP/1.1 504"), "{slow}");
}

#[tokio::test]
async fn a_panic_is_an_internal_error_that_tells_the_log_only() {
    let (logs, _guard) = Logs::catch();
    let (server, _) = running(|_| {}).await;
    let client = client();
    let broken = client.get(server.url("/panic")).header("x-request-id", "broken-1").send().await.unwrap();
    assert_eq!(broken.status(), 500);
    let body = problem(broken).await;
    assert_eq!(body["code"], "internal_error");
    assert!(!body.to_string().contains(SECRET), "{body}");
    assert_eq!(logs.with(&["ERROR", SECRET, "broken-1"]).len(), 1, "the log has it, under the request's id");
    assert_eq!(client.get(server.url("/hello")).send().await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn each_request_is_logged_once_without_its_query() {
    let (logs, _guard) = Logs::catch();
    let (server, inside) = running(|config| config.quiet_paths = vec!["/cached".to_owned()]).await;
    for path in ["/hello?token=geheim", "/nowhere?token=geheim", "/cached"] {
        client().get(server.url(path)).header("user-agent", "geheim").send().await.unwrap();
    }
    assert_eq!(logs.with(&["tenantry::access", "path=\"/hello\"", "status=200", "client_ip=127.0.0.1"]).len(), 1);
    assert_eq!(logs.with(&["tenantry::access", "path=\"/nowhere\"", "status=404", "route_not_found"]).len(), 1);
    assert!(logs.with(&["/cached"]).is_empty(), "probes do not fill the log");
    // a caller that hangs up is logged as well, and its handler is cancelled
    let mut stream = server.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /wait HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone-1\r\n\r\n")
        .await
        .unwrap();
    eventually("the handler starts", || inside.count() == 1).await;
    drop(stream);
    eventually("the handler is cancelled", || inside.count() == 0).await;
    eventually("the log says so", || logs.with(&["tenantry::access", "gone-1", "status=499"]).len() == 1).await;
    assert!(logs.with(&["geheim"]).is_empty());
}
