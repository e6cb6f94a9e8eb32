use serde_json::{Value, json};

use crate::company::{Company, pointers, refusal};

const PATH: &str = "/v1/settings";

#[tokio::test]
async fn settings_have_defaults_and_are_changed_by_version() {
    let company = Company::open().await;
    let read = company.get(PATH).await;
    let first = json!({ "time_zone": "UTC", "display_currency": "USD", "version": 1 });
    assert_eq!((read.status, read.header("etag"), read.json()), (200, "\"1\"", first));
    let changed = company.patch_if(PATH, "\"1\"", json!({ "time_zone": "Europe/Berlin" })).await;
    let second = json!({ "time_zone": "Europe/Berlin", "display_currency": "USD", "version": 2 });
    assert_eq!((changed.status, changed.header("etag"), changed.json()), (200, "\"2\"", second.clone()));
    let stale = company.patch(PATH, json!({ "version": 1, "display_currency": "EUR" })).await;
    assert_eq!(stale.verdict(), refusal(409, "version_conflict"));
    assert_eq!(stale.json()["current"], second);
    let both =
        company.patch(PATH, json!({ "version": 2, "time_zone": "Asia/Kolkata", "display_currency": "INR" })).await;
    let third = json!({ "time_zone": "Asia/Kolkata", "display_currency": "INR", "version": 3 });
    assert_eq!((both.status, both.json()), (200, third.clone()));
    assert_eq!(company.get(PATH).await.json(), third);
    let sql = "SELECT e.action, e.details FROM audit.events e JOIN public.tenants t ON t.id = e.tenant_id \
               WHERE e.action LIKE 'settings.%' ORDER BY e.id";
    let rows = company.server.database.admin().await.query(sql, &[]).await.unwrap();
    let events: Vec<(String, Value)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].0, "settings.update");
    assert_eq!(events[1].1["from"], json!({ "time_zone": "Europe/Berlin", "display_currency": "USD" }));
    assert_eq!(events[1].1["to"], json!({ "time_zone": "Asia/Kolkata", "display_currency": "INR" }));
}

#[tokio::test]
async fn what_is_no_zone_or_currency_is_refused() {
    let company = Company::open().await;
    let wrong = json!({ "version": 1, "time_zone": "Berlin", "display_currency": "EURO" });
    let answer = company.patch(PATH, wrong).await;
    assert_eq!(answer.verdict(), refusal(422, "validation_failed"));
    assert_eq!(pointers(&answer), ["/time_zone", "/display_currency"]);
    assert_eq!(company.patch(PATH, json!({ "time_zone": "UTC" })).await.verdict(), refusal(428, "version_required"));
    assert_eq!(
        company.patch(PATH, json!({ "version": 1, "color": "red" })).await.verdict(),
        refusal(422, "invalid_body")
    );
    assert_eq!(company.get(PATH).await.json()["version"], 1);
}

#[tokio::test]
async fn of_parallel_changes_one_wins() {
    let company = Company::open().await;
    let zones = ["Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC", "Africa/Cairo", "Asia/Kolkata"];
    let changes = zones.map(|zone| company.patch_if(PATH, "\"1\"", json!({ "time_zone": zone })));
    let answers = futures_util::future::join_all(changes).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().filter(|a| a.status != 200).all(|a| a.verdict() == refusal(409, "version_conflict")));
    assert_eq!(company.get(PATH).await.json(), won[0].json());
}

/// What is made next goes by it, on whichever server: the registry's cache hears of the change.
#[tokio::test]
async fn schedules_take_the_companys_zone() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    company.patch_if(PATH, "\"1\"", json!({ "time_zone": "Pacific/Auckland" })).await;
    let preview = async || company.get("/v1/schedules/preview?cron_expression=@daily").await.json();
    for _ in 0..1000 {
        if preview().await["time_zone"] == "Pacific/Auckland" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let new =
        json!({ "agent_id": agent["id"], "name": "n", "cron_expression": "@daily", "task_template": { "title": "t" } });
    assert_eq!(company.make("/v1/schedules", new).await["time_zone"], "Pacific/Auckland");
}
