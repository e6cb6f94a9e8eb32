//! What the single questions answer.

use axum::http::Method;
use metering::Decimal;
use serde_json::{Value, json};

use crate::{Stage, usd};

#[tokio::test]
async fn every_answer_says_what_it_is_about() {
    let stage = Stage::full().await;
    let today = stage.today();
    let marked = "INSERT INTO analytics.dirty_hours (tenant_id, hour, day) VALUES ($1, now(), $2)";
    stage.admin.execute(marked, &[stage.acme.id().as_uuid(), &today]).await.unwrap();
    for page in ["cost-summary", "usage", "providers", "trends", "task-types", "savings", "roi", "explain"] {
        let answer = stage.ask(page).await;
        assert_eq!(answer["currency"], "USD", "{page}");
        assert_eq!(answer["period"]["time_zone"], "Asia/Kolkata");
        assert_eq!(answer["period"]["from"], json!(today.format("%Y-%m-01").to_string()), "{page}: this month");
        assert_eq!(answer["pending_hours"], 1, "{page}");
        assert!(answer["data_as_of"].as_str().unwrap().ends_with('Z'), "{page}");
        let coverage = &answer["coverage"];
        let number = |name: &str| coverage[name].as_i64().unwrap();
        assert_eq!(number("priced") + number("unpriced"), number("total_calls"), "{page}");
    }
}

#[tokio::test]
async fn a_company_without_calls_gets_answers_too() {
    let stage = Stage::empty().await;
    let summary = stage.ask("cost-summary").await;
    assert_eq!((&summary["spent_usd"], &summary["data_as_of"]), (&json!("0"), &Value::Null));
    assert_eq!(summary["coverage"]["percent_final"], Value::Null);
    assert_eq!(summary["forecast"], Value::Null);
    assert!(summary["no_forecast_because"].as_str().unwrap().contains("at least 14"), "{summary}");
    for page in [
        "usage",
        "providers",
        "trends",
        "task-types",
        "savings",
        "roi",
        "explain",
        "export",
        "export?format=focus&rows=days",
    ] {
        stage.get(page).await;
    }
    let stored = stage.send(&stage.acme, Method::POST, "roi", Some(json!({}))).await;
    assert_eq!((stored.status, stored.json()["code"].as_str()), (409, Some("roi_not_computable")), "{}", stored.text);
}

#[tokio::test]
async fn parameters_are_checked() {
    let stage = Stage::empty().await;
    for path in [
        "usage?interval=minute",
        "usage?group_by=colour",
        "usage?limit=0",
        "usage?limit=51",
        "usage?interval=hour&group_by=model&from=2026-01-01&to=2026-12-31",
        "usage?from=yesterday",
        "usage?from=2026-02-02&to=2026-02-01",
        "usage?from=2020-01-01&to=2026-01-01",
        "usage?agent_id=7",
        "usage?model=",
        "usage?colour=red",
        "cost-summary?provider=a%00b",
        "savings?group_by=task",
        "explain?base_from=2026-02-02&base_to=2026-02-01",
        "export?format=parquet",
        "export?rows=weeks",
        "roi?limit=201",
        "what-if?to_provider=x",
        "what-if?to_provider=x&to_model=",
    ] {
        assert_eq!(stage.refused(path).await, (400, "invalid_query".to_owned()), "{path}");
    }
    assert_eq!(stage.refused("roi?cursor=AAAA").await, (400, "invalid_cursor".to_owned()));
    let answer = stage.send(&stage.acme, Method::GET, "explain?base_to=1999-01-01", None).await.json();
    assert_eq!(answer["errors"][0]["parameter"], "base_to", "{answer}");
    let answer =
        stage.send(&stage.acme, Method::POST, "roi", Some(json!({"from": "2026-02-02", "to": "2026-02-01"}))).await;
    assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (422, &json!("/to")), "{}", answer.text);
}

/// Sums of days outlive those of hours. What is gone is refused, never answered with nothing.
#[tokio::test]
async fn a_period_whose_hours_are_gone_is_answered_from_its_days_or_refused() {
    let stage = Stage::empty().await;
    let ago = |days: u64| stage.today() - chrono::Days::new(days);
    let day = ago(500);
    stage.admin.batch_execute("SELECT analytics.ensure_partitions(18, 1)").await.unwrap();
    let row = "INSERT INTO analytics.daily_metrics (tenant_id, date, provider, total_calls, successful_calls, unpriced_calls, total_cost_usd) \
               VALUES ($1, $2, 'openai', 7, 6, 1, 1.25)";
    stage.admin.execute(row, &[stage.acme.id().as_uuid(), &day]).await.unwrap();
    for filter in ["", "&provider=openai"] {
        let trends = stage.ask(&format!("trends?from={day}&to={day}{filter}")).await;
        assert_eq!(usd(&trends["days"][0]["cost_usd"]), Decimal::new(125, 2), "{trends}");
        let coverage = &trends["coverage"];
        assert_eq!((&coverage["total_calls"], &coverage["unpriced"]), (&json!(7), &json!(1)));
        assert_eq!(coverage["percent_final"], Value::Null, "that is not known any more");
    }
    let base = format!("explain?base_from={day}&base_to={day}");
    let kept = ago(400);
    for refused in [
        format!("trends?from={day}&to={day}&model=gpt-5"),
        format!("trends?from={0}&to={0}", ago(731)),
        format!("cost-summary?from={day}&to={day}"),
        format!("usage?to={day}"),
        format!("export?rows=days&from={day}&to={day}"),
        format!("explain?from={kept}&to={kept}"),
        base,
    ] {
        assert_eq!(stage.refused(&refused).await, (400, "invalid_query".to_owned()), "{refused}");
    }
    stage.get(&format!("cost-summary?from={kept}&to={kept}")).await;
}

#[tokio::test]
async fn providers_are_compared() {
    let stage = Stage::full().await;
    let answer = stage.ask(&format!("providers?{}", stage.last(77))).await;
    for row in answer["data"].as_array().unwrap() {
        let latency = |name: &str| row["latency"][name].as_f64().unwrap();
        assert!(latency("p50_ms") <= latency("p90_ms") && latency("p95_ms") <= latency("p99_ms"), "{row}");
        assert!((1000.0..9500.0).contains(&latency("mean_ms")) && latency("p99_ms") <= 10_000.0, "{row}");
        assert!((80.0..100.0).contains(&row["success_percent"].as_f64().unwrap()), "{row}");
        assert!((5.0..40.0).contains(&row["cache_hit_percent"].as_f64().unwrap()), "{row}");
        let per_call = usd(&row["cost_per_call_usd"]);
        let priced = row["calls"].as_i64().unwrap() - row["unpriced_calls"].as_i64().unwrap();
        assert_eq!(per_call, (usd(&row["cost_usd"]) / Decimal::from(priced)).round_dp(12));
        let tasks = row["tasks_completed"].as_i64().unwrap();
        assert_eq!(tasks > 0, row["provider"] == "openai", "whose tasks they were: {row}");
    }
    let exact: i64 = stage
        .admin
        .query_one("SELECT sum(latency_ms)::int8 FROM analytics.provider_api_calls WHERE tenant_id = $1 AND provider = 'openai'", &[stage.acme.id().as_uuid()])
        .await
        .unwrap()
        .get(0);
    let openai = answer["data"].as_array().unwrap().iter().find(|row| row["provider"] == "openai").unwrap();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let mean = exact as f64 / openai["calls"].as_f64().unwrap();
    assert!((openai["latency"]["mean_ms"].as_f64().unwrap() - mean).abs() < 0.06);
}

#[tokio::test]
async fn the_outlook_is_within_its_interval() {
    let stage = Stage::full().await;
    let trends = stage.ask("trends").await;
    let forecast = &trends["forecast"];
    let of = |name: &str| usd(&forecast[name]);
    assert!(of("low_95_usd") <= of("low_80_usd") && of("low_80_usd") <= of("high_80_usd"), "{forecast}");
    assert!(of("high_80_usd") <= of("high_95_usd") && of("low_95_usd") <= of("expected_usd"), "{forecast}");
    assert_eq!(trends["no_forecast_because"], Value::Null);
    let summary = stage.ask("cost-summary").await;
    assert_eq!(summary["forecast"], *forecast, "the same month");
    let month = stage.last(300).replace(&format!("to={}", stage.today()), "to=2026-01-31");
    let past = stage.ask(&format!("cost-summary?{month}")).await;
    assert_eq!(past["no_forecast_because"], "the period is over");
}

#[tokio::test]
async fn waste_is_what_came_to_nothing() {
    let stage = Stage::full().await;
    let answer = stage.ask(&format!("task-types?{}", stage.last(77))).await;
    let sql = "SELECT coalesce(sum(c.cost_usd), 0) FROM analytics.provider_api_calls c LEFT JOIN analytics.task_outcomes o USING (tenant_id, task_id) \
        WHERE c.tenant_id = $1 AND (o.status IN ('failed', 'cancelled') OR (c.kind = 'call' AND NOT c.success))";
    let truth: Decimal = stage.admin.query_one(sql, &[stage.acme.id().as_uuid()]).await.unwrap().get(0);
    let rows = answer["data"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| usd(&row["waste_usd"])).sum::<Decimal>(), truth);
    assert!(rows.iter().all(|row| row["tasks"].as_i64() >= row["tasks_completed"].as_i64()), "{answer}");
}

#[tokio::test]
async fn causes_add_up_to_the_change() {
    let stage = Stage::full().await;
    let today = stage.today();
    let day = |back: u64| today - chrono::Days::new(back);
    for (from, to, base_from, base_to) in [(20, 0, 60, 30), (3, 0, 7, 4), (30, 10, 76, 76), (0, 0, 1, 1)] {
        let path =
            format!("explain?from={}&to={}&base_from={}&base_to={}", day(from), day(to), day(base_from), day(base_to));
        let answer = stage.ask(&path).await;
        let bridge = answer["bridge"].as_object().unwrap();
        let terms: Decimal = bridge.iter().filter(|(name, _)| *name != "change_usd").map(|(_, term)| usd(term)).sum();
        let change = usd(&bridge["change_usd"]);
        assert_eq!(terms, change, "{answer}");
        assert_eq!(change, usd(&answer["cost_usd"]) - usd(&answer["base"]["cost_usd"]));
        let later = stage.ask(&format!("cost-summary?from={}&to={}", day(from), day(to))).await;
        assert_eq!(answer["cost_usd"], later["spent_usd"]);
        let drivers = answer["models"].as_array().unwrap().iter().map(|driver| usd(&driver["change_usd"]));
        assert_eq!(drivers.sum::<Decimal>(), change, "three models, all told");
    }
    let default = stage.ask("explain").await;
    let last = day(0).format("%Y-%m-01").to_string().parse::<chrono::NaiveDate>().unwrap().pred_opt().unwrap();
    assert_eq!(default["base"]["period"]["to"], json!(last.to_string()), "the month before");
    let name = default["agents"].as_array().unwrap().iter().any(|agent| agent["name"] == "Mira own");
    assert!(name, "{default}");
}

#[tokio::test]
async fn savings_are_of_calls_with_a_baseline() {
    let stage = Stage::full().await;
    let answer = stage.ask(&format!("savings?{}", stage.last(77))).await;
    let total = &answer["total"];
    assert_eq!(usd(&total["baseline_cost_usd"]), usd(&total["actual_cost_usd"]) * Decimal::from(3));
    assert_eq!(total["savings_percent"], 66.67);
    assert!(usd(&total["like_for_like"]["savings_usd"]) < Decimal::ZERO, "signed: {total}");
    assert!(total["covered_percent"].as_f64().unwrap() < 90.0 && answer["assumptions"].as_array().unwrap().len() > 3);
    for by in ["provider", "model", "agent", "key", "operation", "task_type", "account"] {
        let grouped = stage.ask(&format!("savings?{}&group_by={by}", stage.last(77))).await;
        let rows = grouped["data"].as_array().unwrap();
        assert_eq!(
            rows.iter().map(|row| usd(&row["savings_usd"])).sum::<Decimal>(),
            usd(&total["savings_usd"]),
            "{by}"
        );
    }
}

#[tokio::test]
async fn a_calculation_is_stored_once() {
    let stage = Stage::full().await;
    let body = || {
        Some(json!({ "from": (stage.today() - chrono::Days::new(40)).to_string(), "to": stage.today().to_string() }))
    };
    let store = async || {
        let answer = stage.send(&stage.acme, Method::POST, "roi", body()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()
    };
    let first = store().await;
    stage.clock.advance(chrono::TimeDelta::seconds(60));
    assert_eq!(store().await, first, "the same figures");
    let now = stage.ask(&format!("roi?{}", stage.last(41))).await;
    for member in [
        "actual_cost_usd",
        "baseline_cost_usd",
        "savings_usd",
        "savings_percent",
        "tasks_completed",
        "optimal_routing_percent",
    ] {
        assert_eq!(now[member], first[member], "{member}");
    }
    assert_eq!(now["stored"]["data"], json!([first]));
    // another period is another calculation, and the list has pages
    let answer = stage.send(&stage.acme, Method::POST, "roi", Some(json!({}))).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let page = stage.ask("roi?limit=1").await;
    assert_eq!(page["stored"]["data"][0], answer.json(), "the newest first");
    let cursor = page["stored"]["next_cursor"].as_str().unwrap();
    let page = stage.ask(&format!("roi?limit=1&cursor={cursor}")).await;
    assert_eq!((&page["stored"]["data"], &page["stored"]["next_cursor"]), (&json!([first]), &Value::Null));
    let others = stage.send(&stage.globex, Method::GET, "roi", None).await.json();
    assert_eq!(others["stored"]["data"], json!([]), "nobody else's");
}

#[tokio::test]
async fn exports_are_attachments_without_formulae() {
    let stage = Stage::full().await;
    let period = stage.last(30);
    let csv = stage.get(&format!("export?{period}")).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let name = csv.headers["content-disposition"].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\"acme-calls-") && name.ends_with(".csv\""), "{name}");
    assert!(csv.headers.contains_key("x-data-as-of"));
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let mut texts = 0;
    for record in reader.records() {
        for (name, cell) in names.iter().zip(&record.unwrap()) {
            let begins = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(!begins || name == "cost_usd", "{name}: {cell}");
            texts += usize::from(cell.starts_with('\''));
        }
    }
    assert!(texts > 100, "there were texts to take care of");
    let focus = stage.get(&format!("export?{period}&format=focus&rows=days")).await;
    let head = focus.text.lines().next().unwrap();
    for column in ["BilledCost", "BillingCurrency", "ChargePeriodStart", "ServiceCategory", "SkuId", "Tags"] {
        assert!(head.split(',').any(|name| name == column), "{column}: {head}");
    }
    assert!(focus.text.contains("AI and Machine Learning") && focus.text.contains(",Correction,"));
    let jsonl = stage.get(&format!("export?{period}&format=jsonl")).await;
    assert_eq!(jsonl.headers["content-type"], "application/x-ndjson");
    assert!(jsonl.text.contains("\"=triage own\""), "only spreadsheets need an apostrophe");
}

#[tokio::test]
async fn one_export_at_a_time() {
    use axum::Extension;
    use axum::body::Body;
    use axum::http::Request;
    use tenantry_http::TenantScope;
    use tower::ServiceExt as _;

    let stage = Stage::full().await;
    let request = Request::get("/v1/analytics/export").body(Body::empty()).unwrap();
    let router = stage.router.clone().layer(Extension(TenantScope(stage.acme.clone())));
    let first = router.oneshot(request).await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(stage.refused("export").await, (429, "export_running".to_owned()));
    assert_eq!(stage.send(&stage.globex, Method::GET, "export", None).await.status, 200, "another company's");
    assert_eq!(stage.ask("cost-summary").await["currency"], "USD", "and everything else goes on");
    drop(first);
    stage.get("export").await;
}

/// With prices of the catalogue: each call is priced by itself, as [`metering::prices::Prices::cost`] does it.
#[tokio::test]
async fn calls_are_priced_on_another_model() {
    use metering::prices::PriceQuery;
    use metering::usage::Usage;

    let stage = Stage::full().await;
    let period = stage.last(30);
    let answer = stage.ask(&format!("what-if?{period}&to_provider=openai&to_model=gpt-5")).await;
    let from = stage.today() - chrono::Days::new(29);
    let sql = "SELECT cost_usd, usage, \"timestamp\" FROM analytics.provider_api_calls \
        WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 AND kind = 'call' AND cost_usd IS NOT NULL AND usage_source <> 'none'";
    let rows = stage.admin.query(sql, &[stage.acme.id().as_uuid(), &from, &stage.today()]).await.unwrap();
    let (mut here, mut there) = (Decimal::ZERO, Decimal::ZERO);
    for row in &rows {
        let usage: Usage = serde_json::from_value(row.get(1)).unwrap();
        let query = PriceQuery {
            tenant: stage.acme.id(),
            account: None,
            provider: "openai",
            model: "gpt-5",
            service_tier: None,
            at: row.get(2),
        };
        here += row.get::<_, Decimal>(0);
        there += stage.prices.cost(&query, &usage).cost_usd.unwrap();
    }
    assert_eq!((usd(&answer["actual_cost_usd"]), usd(&answer["what_if_cost_usd"])), (here, there), "{answer}");
    assert_eq!(usd(&answer["difference_usd"]), there - here);
    assert_eq!(answer["compared_calls"], rows.len(), "{answer}");
    assert!(rows.len() > 100 && there > Decimal::ZERO);
    let unknown = format!("what-if?{period}&to_provider=openai&to_model=no-such-model-of-anybody");
    assert_eq!(stage.refused(&unknown).await, (400, "invalid_query".to_owned()));
}
