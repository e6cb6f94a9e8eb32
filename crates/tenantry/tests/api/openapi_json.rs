use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_is_served_as_it_is() {
    let server = TestServer::start().await;
    let answer = Answer::to(server.request(Method::GET, "/openapi.json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "max-age=300");
    assert_eq!(answer.json(), tenantry::openapi());
}

/// What the document says an operation may answer is what it answers here; the rest of the suite checks the bodies.
#[tokio::test]
async fn every_listed_path_is_a_route() {
    let server = TestServer::start().await;
    let document = tenantry::openapi();
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

/// A list that can be had in part has all its members by name, one alone, and refuses what is none.
#[tokio::test]
async fn a_list_in_part_is_what_was_asked_for() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let agent =
        Answer::to(server.by(&acme, Method::POST, "/v1/agents").json(&json!({ "name": "Mira", "role": "support" })))
            .await;
    assert_eq!(agent.status, 201);
    let document = tenantry::openapi();
    let (mut lists, mut rows) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.contains('{')) {
        let mut parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let Some(fields) = parameters.find(|parameter| parameter["name"] == "fields") else { continue };
        let get =
            async |fields: &str| Answer::to(server.by(&acme, Method::GET, &format!("{path}?fields={fields}"))).await;
        let names: Vec<&str> =
            fields["schema"]["items"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(get(&names.join(",")).await.status, 200, "{path}");
        let one = get(names[0]).await.json();
        for row in one["data"].as_array().unwrap() {
            assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), [names[0]], "{path}");
            rows += 1;
        }
        assert_eq!(get("nope").await.verdict(), (400, "invalid_query".to_owned()), "{path}");
        lists += 1;
    }
    assert!(lists > 12 && rows > 1, "{lists} lists, {rows} rows");
}
