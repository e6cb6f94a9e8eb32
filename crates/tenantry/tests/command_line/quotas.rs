//! What tenants use, at the command line.

use testkit::admin_client;

use super::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn use_is_measured_and_shown_and_counters_are_verified() {
    let installation = Installation::prepared().await;
    for slug in ["acme", "globex"] {
        installation.run(&["tenant", "create", slug, "--admin-email", "it@example.org"]).ok();
    }
    let usage = |args: &[&str]| installation.run(&[&["-o", "json", "tenant", "usage"], args].concat()).ok().json();
    assert!(usage(&["acme"])["measured_at"].is_null());
    let admin = admin_client(&installation.database).await;
    let work =
        "INSERT INTO tenant_globex.agents (name, role) SELECT 'agent ' || n, 'support' FROM generate_series(1, 4) n";
    admin.batch_execute(work).await.unwrap();

    // The rows were made past the functions that count them.
    let verify = |args: &[&str]| installation.run(&[&["-o", "json", "quota", "verify"], args].concat());
    verify(&["acme"]).ok();
    let found = verify(&[]);
    let wrong = found.json();
    assert_eq!(
        (&wrong[0]["slug"], &wrong[0]["name"], &wrong[0]["truth"]),
        (&"globex".into(), &"agents".into(), &4.into())
    );
    found.fails(9, "quota verify --repair");
    assert_eq!(verify(&["globex", "--repair"]).ok().json()[0]["used"], 0);
    assert_eq!(verify(&[]).ok().json(), serde_json::json!([]));
    verify(&["nobody"]).fails(3, "nobody");

    let fleet = usage(&["--measure"]);
    assert_eq!(fleet.as_array().unwrap().len(), 2);
    assert_eq!((&fleet[0]["slug"], &fleet[0]["quotas"][0]["percent"]), (&"globex".into(), &80.0.into()), "{fleet}");
    assert!(fleet[1]["quotas"][3]["used"].as_i64().unwrap() > 100_000, "an empty schema has pages: {fleet}");
    let table = installation.run(&["tenant", "usage"]).ok().stdout;
    let line = table.lines().nth(1).unwrap();
    assert!(line.starts_with("globex") && line.contains("agents 80 %") && line.contains("4 of 5"), "{table}");
    let one = installation.run(&["tenant", "usage", "globex"]).ok().stdout;
    assert!(one.contains("tasks this month") && one.contains("no limit"), "{one}");
    installation.run(&["tenant", "usage", "nobody"]).fails(3, "nobody");
    installation.run(&["tenant", "usage", "nobody", "--measure"]).fails(3, "nobody");

    let keys = installation.run(&["-o", "json", "key", "list", "acme"]).ok().json();
    let id = keys[0]["id"].as_str().unwrap();
    let limit = |to: &str| installation.run(&["-o", "json", "key", "limit", "acme", id, to]);
    assert_eq!(limit("30").ok().json()["requests_per_minute"], 30);
    assert!(limit("tenant").ok().json()["requests_per_minute"].is_null());
    limit("0").fails(2, "expected a number above 0");
    installation.run(&["key", "limit", "globex", id, "3"]).fails(3, id);
}
