//! All pages tell the same amount, to the last digit.

use metering::Decimal;
use serde_json::Value;

use crate::{Answer, Stage, usd};

const GROUPINGS: [&str; 8] = ["provider", "model", "agent", "task", "key", "operation", "task_type", "account"];

/// What the calls themselves say of the first company.
async fn truth(stage: &Stage, days: u64, filter: &str) -> (Decimal, i64, i64) {
    let sql = format!(
        "SELECT coalesce(sum(cost_usd), 0), count(*) FILTER (WHERE kind = 'call'), sum(tokens_input + tokens_output)::int8 \
         FROM analytics.provider_api_calls WHERE tenant_id = $1 AND day >= $2 AND day <= $3 AND {filter}"
    );
    let from = stage.today() - chrono::Days::new(days - 1);
    let row = stage.admin.query_one(&sql, &[stage.acme.id().as_uuid(), &from, &stage.today()]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// Cost, calls and tokens of sums.
fn told(sums: &Value) -> (Decimal, i64, i64) {
    let tokens = &sums["tokens"];
    let tokens = tokens["input"].as_i64().unwrap() + tokens["output"].as_i64().unwrap();
    (usd(&sums["cost_usd"]), sums["calls"].as_i64().unwrap(), tokens)
}

fn add(all: impl IntoIterator<Item = (Decimal, i64, i64)>) -> (Decimal, i64, i64) {
    all.into_iter().fold((Decimal::ZERO, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
}

#[tokio::test]
async fn every_page_tells_the_same_amount() {
    let stage = Stage::full().await;
    for days in [1, 9, 31, 77] {
        let period = stage.last(days);
        let truth = truth(&stage, days, "true").await;
        let summary = stage.ask(&format!("cost-summary?{period}")).await;
        assert_eq!(told(&summary["total"]), truth, "{summary}");
        assert_eq!(usd(&summary["spent_usd"]), truth.0);
        for by in ["by_provider", "by_model", "by_agent"] {
            let top = summary[by]["top"].as_array().unwrap().iter().map(told);
            assert_eq!(add(top), truth, "{by}");
        }
        for by in ["provider", "model"] {
            let providers = stage.ask(&format!("providers?{period}&by={by}")).await;
            assert_eq!(add(providers["data"].as_array().unwrap().iter().map(told)), truth);
            assert_eq!(told(&providers["total"]), truth);
        }
        let types = stage.ask(&format!("task-types?{period}")).await;
        assert_eq!(add(types["data"].as_array().unwrap().iter().map(told)), truth);
        let trends = stage.ask(&format!("trends?{period}")).await;
        let all: Decimal = trends["days"].as_array().unwrap().iter().map(|day| usd(&day["cost_usd"])).sum();
        assert_eq!(all, truth.0);
        assert_eq!(usd(&trends["days"].as_array().unwrap().last().unwrap()["cumulative_usd"]), truth.0);
        for answer in [&summary, &trends] {
            assert_eq!(answer["coverage"]["total_calls"], truth.1, "{answer}");
        }
    }
}

#[tokio::test]
async fn groups_and_steps_add_up_to_everything() {
    let stage = Stage::full().await;
    let truth = truth(&stage, 31, "true").await;
    let period = stage.last(31);
    for group_by in GROUPINGS {
        for (interval, limit) in [("day", 50), ("day", 2), ("week", 1), ("month", 10), ("hour", 5)] {
            let path = format!("usage?{period}&group_by={group_by}&interval={interval}&limit={limit}");
            let usage = stage.ask(&path).await;
            let groups = usage["groups"].as_array().unwrap();
            assert_eq!(told(&usage["total"]), truth, "{path}");
            assert_eq!(add(groups.iter().map(|group| told(&group["total"]))), truth, "{path}");
            for group in groups {
                let steps = add(group["series"].as_array().unwrap().iter().map(told));
                assert_eq!(steps, told(&group["total"]), "{path}");
            }
            let others = groups.iter().filter(|group| group["is_other"] == true).count();
            assert!(groups.len() - others <= limit && others <= 1, "{path}: {} groups", groups.len());
            let costs: Vec<_> =
                groups.iter().filter(|group| group["is_other"] == false).map(|g| told(&g["total"]).0).collect();
            assert!(costs.is_sorted_by(|a, b| a >= b), "the dearest first: {costs:?}");
        }
    }
    let alone = stage.ask(&format!("usage?{period}")).await;
    assert_eq!((told(&alone["total"]), alone["groups"].as_array().unwrap().len()), (truth, 1));
    // an hour that is shown is one of the tenant's clock
    let hours = stage.ask(&format!("usage?{period}&interval=hour")).await;
    let start = hours["groups"][0]["series"][0]["start"].as_str().unwrap();
    assert!(start.ends_with(":30:00Z"), "{start}");
}

#[tokio::test]
async fn filters_cut_every_page_alike() {
    let stage = Stage::full().await;
    let period = stage.last(60);
    let first = |sql: &'static str| async {
        let row = stage.admin.query_one(sql, &[stage.acme.id().as_uuid()]).await.unwrap();
        row.get::<_, String>(0)
    };
    let agent = first("SELECT min(agent_id::text) FROM analytics.provider_api_calls WHERE tenant_id = $1").await;
    let key = first("SELECT min(api_key_id::text) FROM analytics.provider_api_calls WHERE tenant_id = $1").await;
    for (query, condition) in [
        ("provider=openai".to_owned(), "provider = 'openai'".to_owned()),
        ("model=gpt-5-own".to_owned(), "model = 'gpt-5-own'".to_owned()),
        (format!("agent_id={agent}"), format!("agent_id = '{agent}'")),
        (format!("api_key_id={key}"), format!("api_key_id = '{key}'")),
        ("operation=embeddings".to_owned(), "operation = 'embeddings'".to_owned()),
        (
            "task_type=reply%20own&provider=anthropic".to_owned(),
            "task_type = 'reply own' AND provider = 'anthropic'".to_owned(),
        ),
    ] {
        let truth = truth(&stage, 60, &condition).await;
        assert!(truth.1 > 10, "{condition}");
        for page in ["cost-summary", "usage", "providers", "task-types", "usage?group_by=task"] {
            let path = if page.contains('?') {
                format!("{page}&{period}&{query}")
            } else {
                format!("{page}?{period}&{query}")
            };
            assert_eq!(told(&stage.ask(&path).await["total"]), truth, "{path}");
        }
        let roi = stage.ask(&format!("roi?{period}&{query}")).await;
        assert_eq!((usd(&roi["total_cost_usd"]), roi["total_calls"].as_i64().unwrap()), (truth.0, truth.1));
        let export = stage.get(&format!("export?{period}&{query}")).await;
        assert_eq!(amounts(&export, "cost_usd"), truth.0);
    }
}

/// The sum of a column of an export.
fn amounts(answer: &Answer, column: &str) -> Decimal {
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let at = reader.headers().unwrap().iter().position(|name| name == column).unwrap();
    let cells = reader.records().map(|record| record.unwrap().get(at).unwrap().to_owned());
    cells.filter(|cell| !cell.is_empty()).map(|cell| cell.parse::<Decimal>().unwrap()).sum()
}

#[tokio::test]
async fn an_export_adds_up_to_the_summary() {
    let stage = Stage::full().await;
    for days in [1, 31, 77] {
        let period = stage.last(days);
        let (cost, calls, _) = truth(&stage, days, "true").await;
        for rows in ["calls", "days"] {
            let csv = stage.get(&format!("export?{period}&rows={rows}")).await;
            assert_eq!(amounts(&csv, "cost_usd"), cost, "csv of {rows}");
            let focus = stage.get(&format!("export?{period}&rows={rows}&format=focus")).await;
            for column in ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"] {
                assert_eq!(amounts(&focus, column), cost, "{column} of {rows}");
            }
            assert_eq!(amounts(&focus, "x_Calls"), Decimal::from(calls));
            let jsonl = stage.get(&format!("export?{period}&rows={rows}&format=jsonl")).await;
            let lines: Vec<Value> = jsonl.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let known = lines.iter().filter(|line| !line["cost_usd"].is_null());
            assert_eq!(known.map(|line| usd(&line["cost_usd"])).sum::<Decimal>(), cost, "json lines of {rows}");
        }
    }
    let before_any = stage.today() - chrono::Days::new(300);
    let empty = stage.get(&format!("export?from={before_any}&to={before_any}")).await;
    assert_eq!(empty.text.lines().count(), 1, "names and nothing else: {}", empty.text);
}

#[tokio::test]
async fn an_export_goes_on_behind_a_page() {
    let stage = Stage::full().await;
    // as many calls at one moment as make a page end among them
    let at = stage.now() - chrono::TimeDelta::hours(1);
    let (hour, day) = metering::bucket(at, crate::ZONE);
    let rows: Vec<Value> = (0..4100)
        .map(|n: u32| {
            serde_json::json!({
                "id": uuid::Uuid::new_v4(), "tenant_id": stage.acme.id().as_uuid(), "kind": "call", "prices_call": false,
                "operation_id": uuid::Uuid::new_v4(), "attempt": 1, "source": "api", "provider": "p", "operation": "o", "model": "m",
                "tokens_input": n, "tokens_output": 0, "tokens_cache_read": 0, "tokens_cache_write": 0, "tokens_reasoning": 0, "usage": {"input": n},
                "usage_source": "reported", "cost_usd": "0.000000000001", "cost_source": "catalogue", "latency_ms": 1, "streamed": false,
                "success": true, "finish": "complete", "timestamp": at, "hour": hour, "day": day,
            })
        })
        .collect();
    crate::seed::insert(&stage.admin, &rows).await;
    let (cost, calls, _) = truth(&stage, 77, "true").await;
    let export = stage.get(&format!("export?{}", stage.last(77))).await;
    assert_eq!(amounts(&export, "cost_usd"), cost);
    let mut reader = csv::Reader::from_reader(export.text.as_bytes());
    let ids: std::collections::BTreeSet<String> = reader
        .records()
        .map(Result::unwrap)
        .filter(|record| &record[1] == "call")
        .map(|record| record[0].to_owned())
        .collect();
    assert_eq!(ids.len(), usize::try_from(calls).unwrap(), "each call once");
}

/// The sums that these tests are made of are those that the server makes.
#[tokio::test]
async fn the_sums_of_hours_are_the_servers() {
    let stage = Stage::full().await;
    let digest = "SELECT count(*), md5(string_agg(h::text, ' ' ORDER BY h::text)) FROM analytics.hourly_metrics h WHERE tenant_id = $1 AND day > $2";
    let (acme, since) = (stage.acme.id(), stage.today() - chrono::Days::new(12));
    let read = async || {
        let row = stage.admin.query_one(digest, &[acme.as_uuid(), &since]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, Option<String>>(1))
    };
    let before = read().await;
    assert!(before.0 > 50, "{before:?}");
    for sql in [
        "INSERT INTO analytics.dirty_hours (tenant_id, hour, day) SELECT DISTINCT tenant_id, hour, day FROM analytics.provider_api_calls WHERE tenant_id = $1 AND day > $2",
        "DELETE FROM analytics.hourly_metrics WHERE tenant_id = $1 AND day > $2",
    ] {
        stage.admin.execute(sql, &[acme.as_uuid(), &since]).await.unwrap();
    }
    let db = tenantry_postgres::MeterDb::new(&stage.world.database.config, 2);
    metering::rollup::Rollup::new(db, metering::rollup::RollupSettings::default())
        .settle(Some(acme), |_| ())
        .await
        .unwrap();
    assert_eq!(read().await, before);
}
