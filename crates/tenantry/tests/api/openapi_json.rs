use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::Value;

#[tokio::test]
async fn the_document_is_served_as_it_is() {
    let server = TestServer::start().await;
    let answer = Answer::to(server.request(Method::GET, "/openapi.json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "max-age=300");
    assert_eq!(answer.json(), serde_json::to_value(tenantry::openapi()).unwrap());
}

/// What the document says an operation may answer is what it answers here; the rest of the suite checks the bodies.
#[tokio::test]
async fn every_listed_path_is_a_route() {
    let server = TestServer::start().await;
    let document = serde_json::to_value(tenantry::openapi()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = Answer::to(server.request(method.clone(), &path)).await;
            let described = operation["responses"].get(answer.status.to_string());
            assert!(described.is_some_and(Value::is_object), "{method} {path} answers {} undescribed", answer.status);
        }
    }
}
