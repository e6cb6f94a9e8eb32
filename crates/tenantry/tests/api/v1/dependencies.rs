use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

fn below(task: &Value) -> String {
    format!("{}/dependencies", at("tasks", task))
}

impl Company {
    async fn depend(&self, task: &Value, other: &Value) -> isolation::server::Answer {
        self.post(&below(task), json!({ "depends_on_task_id": other["id"] })).await
    }

    async fn tasks<const N: usize>(&self, agent: &Value, titles: [&str; N]) -> [Value; N] {
        let mut tasks = Vec::new();
        for title in titles {
            tasks.push(self.task(agent, title).await);
        }
        tasks.try_into().unwrap()
    }
}

#[tokio::test]
async fn dependencies_are_added_listed_and_taken_away() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let [dig, build, roof] = company.tasks(&agent, ["dig", "build", "roof"]).await;
    let added = company.depend(&build, &dig).await;
    let expected = json!({
        "id": added.json()["id"], "task_id": build["id"], "depends_on_task_id": dig["id"], "depth": 1, "done": false,
        "title": "dig", "status": "pending", "deleted_at": null,
    });
    assert_eq!((added.status, added.json()), (201, expected.clone()));
    let again = company.depend(&build, &dig).await;
    assert_eq!((again.status, again.json()), (200, expected), "nothing changed");
    let second = company.depend(&roof, &build).await.json();
    assert_eq!(second["depth"], 2);
    assert_eq!(column(&company.walk(&below(&roof), 1).await, "title"), ["build"]);
    let all = company.walk(&format!("{}?transitive=true", below(&roof)), 1).await;
    assert_eq!(column(&all, "title"), ["dig", "build"], "in the order of adding");
    let some = company.get(&format!("{}?fields=title,done", below(&roof))).await.json();
    assert_eq!(some["data"], json!([{ "done": false, "title": "build" }]));
    assert_eq!(company.walk(&below(&dig), 5).await, [Value::Null; 0]);
    let made =
        company.make("/v1/tasks", json!({ "agent_id": agent["id"], "title": "move in", "depends_on": [roof["id"]] }));
    assert_eq!(company.walk(&below(&made.await), 5).await[0]["depth"], 3);

    let edge = format!("{}/{}", below(&build), dig["id"].as_str().unwrap());
    assert_eq!(company.delete(&edge).await.status, 204);
    assert_eq!(company.delete(&edge).await.verdict(), refusal(404, "dependency_not_found"));
    assert_eq!(company.walk(&below(&roof), 5).await[0]["depth"], 1, "the chain is shorter now");
    let events = company.events(&format!("task/{}", build["id"].as_str().unwrap())).await;
    let actions: Vec<&str> = events.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["task.create", "task.depend", "task.undepend"]);
    for path in [
        format!("/v1/tasks/{}/dependencies", Uuid::nil()),
        format!("/v1/tasks/{}/dependencies", agent["id"].as_str().unwrap()),
    ] {
        assert_eq!(company.get(&path).await.verdict(), refusal(404, "task_not_found"));
        let body = json!({ "depends_on_task_id": dig["id"] });
        assert_eq!(company.post(&path, body).await.verdict(), refusal(404, "task_not_found"));
        assert_eq!(company.delete(&format!("{path}/{}", Uuid::nil())).await.verdict(), refusal(404, "task_not_found"));
    }
    let of_tasks = company.get("/v1/tasks?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    let foreign = company.get(&format!("{}?cursor={of_tasks}", below(&roof))).await;
    assert_eq!(foreign.verdict(), refusal(400, "invalid_cursor"));
}

#[tokio::test]
async fn a_cycle_is_refused_with_the_way_that_closes_it() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let [a, b, c] = company.tasks(&agent, ["a", "b", "c"]).await;
    for (task, other) in [(&a, &b), (&b, &c)] {
        assert_eq!(company.depend(task, other).await.status, 201);
    }
    let refused = company.depend(&c, &a).await;
    assert_eq!(refused.verdict(), refusal(409, "dependency_cycle"));
    let entry = |task: &Value| json!({ "id": task["id"], "title": task["title"], "status": "pending" });
    assert_eq!(refused.json()["cycle"], json!([entry(&c), entry(&a), entry(&b), entry(&c)]));
    assert_eq!(company.depend(&a, &a).await.json()["cycle"], json!([entry(&a), entry(&a)]));
    for (body, code) in [
        (json!({}), "invalid_body"),
        (json!({ "depends_on_task_id": "x" }), "invalid_body"),
        (json!({ "depends_on_task_id": Uuid::nil() }), "unknown_task"),
    ] {
        assert_eq!(company.post(&below(&a), body.clone()).await.verdict(), refusal(422, code), "{body}");
    }
    let twice = json!({ "agent_id": agent["id"], "title": "x", "depends_on": [a["id"], b["id"], a["id"]] });
    let twice = company.post("/v1/tasks", twice).await;
    assert_eq!(
        (twice.verdict(), pointers(&twice)),
        (refusal(422, "validation_failed"), vec!["/depends_on/2".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_halves_of_a_cycle_one_is_refused_however_close_they_come() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    for round in 0..25 {
        let pair = company.tasks(&agent, ["a", "b"]).await;
        let halves = join_all([company.depend(&pair[0], &pair[1]), company.depend(&pair[1], &pair[0])]).await;
        let mut verdicts: Vec<_> = halves.iter().map(isolation::server::Answer::verdict).collect();
        verdicts.sort_unstable();
        assert_eq!(verdicts, [(201, String::new()), refusal(409, "dependency_cycle")], "round {round}");
    }
    for round in 0..8 {
        let ring = company.tasks(&agent, ["a", "b", "c", "d", "e"]).await;
        let edges = (0..5).map(|i| company.depend(&ring[i], &ring[(i + 1) % 5]));
        let answers = join_all(edges).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 4, "round {round}");
        let refused = answers.iter().find(|answer| answer.status != 201).unwrap();
        assert_eq!(refused.verdict(), refusal(409, "dependency_cycle"), "round {round}");
        assert_eq!(refused.json()["cycle"].as_array().unwrap().len(), 6, "all the way round");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_started_while_a_dependency_is_added() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    for round in 0..25 {
        let [first, second] = company.tasks(&agent, ["first", "second"]).await;
        let start = json!({ "version": 1, "status": "in_progress" });
        let path = at("tasks", &second);
        let (added, started) = tokio::join!(company.depend(&second, &first), company.patch(&path, start));
        match (added.status, started.status) {
            (201, 409) => {
                assert_eq!(started.verdict(), refusal(409, "dependencies_not_done"));
                assert_eq!(started.json()["dependencies"][0]["id"], first["id"]);
            }
            (409, 200) => assert_eq!(added.verdict(), refusal(409, "task_under_way")),
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_handed_out_while_a_dependency_is_added() {
    let company = Company::open().await;
    let (agent, other) = (company.agent("Mira").await, company.agent("Noor").await);
    let first = company.task(&other, "first").await;
    let mut won = [0, 0];
    for round in 0..40 {
        let second = company.task(&agent, "second").await;
        let ask = json!({ "agent_id": agent["id"] });
        let (added, claimed) = tokio::join!(company.depend(&second, &first), company.post("/v1/tasks/claim", ask));
        let handed_out = claimed.json()["data"].as_array().unwrap().iter().any(|task| task["id"] == second["id"]);
        match added.status {
            201 => assert!(!handed_out, "round {round}: it waits, and is in progress"),
            409 => assert!(handed_out && added.verdict() == refusal(409, "task_under_way"), "round {round}"),
            _ => panic!("round {round}: {}", added.text),
        }
        won[usize::from(handed_out)] += 1;
    }
    assert_eq!(won[0] + won[1], 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_claimed_once_and_a_lost_answer_can_be_had_again() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let mut tasks = Vec::new();
    for n in 0..24 {
        tasks.push(company.task(&agent, &format!("t{n:02}")).await["id"].clone());
    }
    let claim = || company.post("/v1/tasks/claim", json!({ "agent_id": agent["id"], "limit": 2 }));
    let mut claimed = Vec::new();
    for answer in join_all((0..13).map(|_| claim())).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
        claimed.extend(answer.json()["data"].as_array().unwrap().iter().map(|task| task["id"].clone()));
    }
    claimed.sort_unstable_by_key(ToString::to_string);
    tasks.sort_unstable_by_key(ToString::to_string);
    assert_eq!(claimed, tasks);

    let task = company.task(&agent, "once").await;
    let ask = || {
        let request = company.server.by(&company.tenant, reqwest::Method::POST, "/v1/tasks/claim");
        isolation::server::Answer::to(
            request.header("idempotency-key", "claim-1").json(&json!({ "agent_id": agent["id"] })),
        )
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!(first.json()["data"][0]["id"], task["id"]);
    assert_eq!(
        (again.status, again.text, again.headers["idempotency-replayed"].to_str().unwrap()),
        (200, first.text, "true")
    );
    let working = company.get(&at("agents", &agent)).await.json();
    assert_eq!((&working["status"], &working["current_task_id"]), (&json!("working"), &task["id"]));
    for (body, code, pointer) in [
        (json!({ "agent_id": agent["id"], "limit": 0 }), "validation_failed", "/limit"),
        (json!({ "agent_id": agent["id"], "limit": 21 }), "validation_failed", "/limit"),
        (json!({ "agent_id": Uuid::nil() }), "unknown_agent", "/agent_id"),
        (json!({ "agent_id": agent["id"], "status": "idle" }), "invalid_body", "/status"),
    ] {
        let answer = company.post("/v1/tasks/claim", body).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]));
    }
    let version = working["version"].clone();
    company.patch(&at("agents", &agent), json!({ "version": version, "status": "offline" })).await;
    let offline = company.post("/v1/tasks/claim", json!({ "agent_id": agent["id"] })).await;
    assert_eq!(offline.verdict(), refusal(409, "agent_offline"));
}
