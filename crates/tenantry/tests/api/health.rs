use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_living_process_says_so_to_anybody() {
    let server = TestServer::start().await;
    let answer = Answer::to(server.request(Method::GET, "/health")).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })));
    assert_eq!(Answer::to(server.request(Method::HEAD, "/health")).await.status, 200);
    assert_eq!(Answer::to(server.request(Method::POST, "/health")).await.verdict().1, "method_not_allowed");
}
