//! Statements of tenants, and what operators see of the metering.

use isolation::server::{Answer, Tenant, TestServer, actor};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry_core::OperatorRole;

/// A server with a tenant that has calls and sums, and an operator.
struct Metered {
    server: TestServer,
    acme: Tenant,
    operator: String,
}

/// The month before the present one.
fn last_month() -> String {
    let first = chrono::Utc::now().format("%Y-%m-01").to_string().parse::<chrono::NaiveDate>().unwrap();
    first.pred_opt().unwrap().format("%Y-%m").to_string()
}

impl Metered {
    async fn start() -> Self {
        let server = TestServer::with(|settings| {
            settings.metering.reports.plan_prices.insert("enterprise".into(), "10".parse().unwrap());
        })
        .await;
        let acme = server.tenant("acme").await;
        server.tenant("globex").await;
        let operator = server.operator("tess").await;
        let sql = format!(
            "INSERT INTO analytics.hourly_metrics (tenant_id, hour, day, provider, model, operation, total_calls, operations, successful_calls, \
                 unpriced_calls, estimated_calls, unsettled_calls, cost_usd, adjustments_usd, failed_cost_usd, estimated_cost_usd, covered_calls, \
                 covered_cost_usd, list_baseline_usd, like_baseline_usd, optimal_calls, tokens_input, tokens_output, tokens_cache_read, \
                 tokens_cache_write, tokens_reasoning, latency_ms, latency_histogram, first_token_ms, first_token_calls) \
             SELECT id, timestamptz '{month}-02 05:00Z', '{month}-02', 'openai', model, 'chat', 2, 2, 2, unpriced, 0, 0, cost, 0, 0, 0, 0, 0, 0, 0, 0, \
                 10, 10, 0, 0, 0, 5, '{{}}', 0, 0 \
             FROM public.tenants, (VALUES ('=gpt-5', 0, 1.006), ('gpt-new', 2, 0)) AS m (model, unpriced, cost)",
            month = last_month()
        );
        server.database.admin().await.batch_execute(&sql).await.unwrap();
        Self { server, acme, operator }
    }

    async fn ask(&self, path: &str) -> Answer {
        Answer::to(self.server.request(Method::GET, path).bearer_auth(&self.operator)).await
    }

    async fn bill(&self, query: &str, file: &str) -> Answer {
        let request = self.server.request(Method::POST, &format!("/admin/v1/metering/bills?{query}"));
        Answer::to(request.bearer_auth(&self.operator).header("content-type", "text/csv").body(file.to_owned())).await
    }
}

#[tokio::test]
async fn a_tenant_reads_its_statements_as_json_and_as_a_table() {
    let metered = Metered::start().await;
    let (server, acme, month) = (&metered.server, &metered.acme, last_month());
    let get = async |path: &str| Answer::to(server.by(acme, Method::GET, path)).await;
    let open = get(&format!("/v1/statements/{month}")).await;
    assert_eq!((open.status, &open.json()["status"], &open.json()["number"]), (200, &json!("open"), &Value::Null));
    assert_eq!(get("/v1/statements").await.json()["data"], json!([]), "previews are not listed");

    let tenants = async |slug| {
        let tx = server.state.metering.db.begin().await.unwrap();
        let found = metering::store::statements::tenants(&tx, None, Some(slug), 1).await.unwrap().remove(0);
        tx.rollback().await.unwrap();
        found
    };
    for slug in ["acme", "globex"] {
        let settings = &server.state.metering.settings.statements;
        let closing = metering::statements::Closing {
            month: month.parse().unwrap(),
            now: chrono::Utc::now(),
            by: &actor(),
            early: true,
            dry_run: false,
        };
        metering::statements::close(&server.state.metering.db, settings, &tenants(slug).await, closing).await.unwrap();
    }
    let closed = get(&format!("/v1/statements/{month}")).await.json();
    assert_eq!((&closed["status"], &closed["number"], &closed["intact"]), (&json!("closed"), &json!(1), &json!(true)));
    assert_eq!((&closed["cost_usd"], &closed["amount_usd"]), (&json!("1.006000000000"), &json!("1.01")));
    assert_eq!((&closed["unpriced_calls"], closed["lines"].as_array().unwrap().len()), (&json!(2), 2));
    let list = get("/v1/statements").await.json();
    assert_eq!((&list["data"][0]["digest"], list["data"].as_array().unwrap().len()), (&closed["digest"], 1));
    assert!(list["data"][0].get("lines").is_none());

    let csv = get(&format!("/v1/statements/{month}?format=csv")).await;
    assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").contains(&format!("statement-{month}.csv")));
    assert!(csv.text.contains(",openai,'=gpt-5,2,0,"), "a formula is a text: {}", csv.text);
    let path = format!("/v1/statements/{month}");
    let accepted = Answer::to(server.by(acme, Method::GET, &path).header("accept", "text/csv")).await;
    assert_eq!(accepted.text, csv.text);
    for (path, verdict) in [
        ("/v1/statements/9000-01", (404, "statement_not_found")),
        ("/v1/statements/2026-1", (400, "invalid_path")),
        ("/v1/statements/2026-10?format=xml", (400, "invalid_query")),
        ("/v1/statements?cursor=x", (400, "invalid_cursor")),
    ] {
        assert_eq!(get(path).await.verdict(), (verdict.0, verdict.1.to_owned()), "{path}");
    }

    let reason = "reason=ticket%204711:%20the%20sum";
    let theirs = metered.ask(&format!("/admin/v1/metering/statements/acme/{month}?{reason}")).await.json();
    assert_eq!(theirs, closed, "operators see what the tenant sees");
    let listed = metered.ask(&format!("/admin/v1/metering/statements/acme?limit=1&{reason}")).await.json();
    assert_eq!((&listed["data"], &listed["next_cursor"]), (&list["data"], &Value::Null));
    for path in ["/admin/v1/metering/statements/nobody", &format!("/admin/v1/metering/statements/nobody/{month}")] {
        assert_eq!(metered.ask(&format!("{path}?{reason}")).await.verdict(), (404, "tenant_not_found".to_owned()));
    }
}

#[tokio::test]
async fn an_operator_says_why_it_reads_a_tenants_statements_and_the_tenant_finds_it() {
    let metered = Metered::start().await;
    let month = last_month();
    let paths =
        ["/admin/v1/metering/statements/acme".to_owned(), format!("/admin/v1/metering/statements/acme/{month}")];
    for path in &paths {
        for reason in ["", "?reason=because", "?reason=%20%20%20%20%20%20%20%20%20%20%20"] {
            let answer = metered.ask(&format!("{path}{reason}")).await;
            assert_eq!(answer.verdict(), (400, "invalid_query".to_owned()), "{path}{reason}");
            assert_eq!(answer.json()["errors"][0]["parameter"], "reason");
        }
    }
    let viewer =
        metered.server.state.provisioner.issue_operator("vic", OperatorRole::Viewer, None, &actor()).await.unwrap();
    let viewer = viewer.token.expose_secret();
    for path in &paths {
        let path = format!("{path}?reason=ticket%204711");
        let refused = Answer::to(metered.server.request(Method::GET, &path).bearer_auth(viewer)).await;
        assert_eq!(refused.verdict(), (403, "permission_denied".to_owned()));
        assert_eq!(metered.ask(&path).await.status, 200);
    }
    let sql = "SELECT t.slug::text, e.actor, e.target, e.details->>'reason' FROM audit.events e JOIN public.tenants t ON t.id = e.tenant_id \
               WHERE e.action = 'operator.read' ORDER BY e.id";
    let rows = metered.server.database.admin().await.query(sql, &[]).await.unwrap();
    let found: Vec<[String; 4]> = rows.iter().map(|row| std::array::from_fn(|i| row.get(i))).collect();
    let event = |target: &str| ["acme", "tess", target, "ticket 4711"].map(str::to_owned);
    assert_eq!(
        found,
        [event("statements"), event(&format!("statement/{month}"))],
        "one for each answer, none for a refusal"
    );
}

#[tokio::test]
async fn operators_see_costs_and_what_needs_to_be_looked_at() {
    let metered = Metered::start().await;
    let month = last_month();
    let first = format!("/admin/v1/metering/costs?from={month}-01&to={month}-28&limit=1");
    let page = metered.ask(&first).await.json();
    assert_eq!((&page["data"][0]["name"], &page["data"][0]["cost_usd"]), (&json!("acme"), &json!("1.006000000000")));
    assert_eq!((&page["data"][0]["priced_calls"], &page["data"][0]["unpriced_calls"]), (&json!(2), &json!(2)));
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = metered.ask(&format!("{first}&cursor={cursor}")).await.json();
    assert_eq!((&rest["data"][0]["name"], &rest["next_cursor"]), (&json!("globex"), &Value::Null));
    let elsewhere = metered.ask(&format!("/admin/v1/metering/margins?cursor={cursor}")).await;
    assert_eq!(elsewhere.verdict(), (400, "invalid_cursor".to_owned()));
    let margins = metered.ask(&format!("/admin/v1/metering/margins?month={month}")).await.json();
    let row = &margins["data"][0];
    assert_eq!((&row["revenue_usd"], &row["margin_usd"]), (&json!("20"), &json!("17.988000000000")));
    let unpriced = metered.ask("/admin/v1/metering/unpriced?days=70").await.json();
    assert_eq!((&unpriced["data"][0]["model"], &unpriced["data"][0]["calls"]), (&json!("gpt-new"), &json!(4)));
    let health = metered.ask("/admin/v1/metering/health").await.json();
    assert_eq!((&health["rollup"]["dirty_hours"], &health["alerts"]), (&json!(0), &json!([])));
    assert_eq!(health["alerts_fired"]["unpriced_calls"], 0);
    for path in ["burn?by=agent&minutes=60", "providers?hours=24", "costs", "margins?by=tenant"] {
        let answer = metered.ask(&format!("/admin/v1/metering/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    for path in [
        "burn?minutes=7",
        "providers?hours=25",
        "unpriced?days=0",
        "costs?from=2020-01-01",
        "costs?by=day",
        "costs?tenant=%00",
    ] {
        let answer = metered.ask(&format!("/admin/v1/metering/{path}")).await;
        assert_eq!(answer.verdict(), (400, "invalid_query".to_owned()), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_bill_is_imported_over_http_by_admins_only() {
    let metered = Metered::start().await;
    let month = last_month();
    let file = format!("day,amount_usd\n{month}-02,2.2\n{month}-03,1\n");
    let made = metered.bill("provider=openai", &file).await;
    assert_eq!((made.status, &made.json()["imported_by"]), (201, &json!("tess")), "{}", made.text);
    let again = metered.bill("provider=openai", &file).await;
    assert_eq!((again.status, again.json()), (200, made.json()));
    let bad = metered.bill("provider=openai", "day,amount_usd\n2026-10-01,1\nyesterday,2\n").await;
    assert_eq!(
        (bad.verdict(), &bad.json()["errors"][0]["pointer"]),
        ((422, "invalid_bill".to_owned()), &json!("/lines/3"))
    );
    assert_eq!(metered.bill("provider=", "x").await.verdict(), (422, "invalid_bill".to_owned()));
    assert_eq!(metered.bill("provider=openai&format=xls", &file).await.verdict(), (400, "invalid_query".to_owned()));
    let list = metered.ask("/admin/v1/metering/bills").await.json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][0]), (1, &made.json()));
    let days =
        metered.ask(&format!("/admin/v1/metering/reconciliation?from={month}-01&to={month}-28&limit=1")).await.json();
    assert_eq!(
        (&days["data"][0]["status"], &days["data"][0]["billed_usd"]),
        (&json!("short"), &json!("1.000000000000"))
    );
    let cursor = days["next_cursor"].as_str().unwrap();
    let path = format!("/admin/v1/metering/reconciliation?from={month}-01&to={month}-28&limit=1&cursor={cursor}");
    let day = &metered.ask(&path).await.json()["data"][0];
    assert_eq!((&day["captured_part"], &day["unpriced_calls"]), (&json!("0.914545"), &json!(4)));

    let viewer =
        metered.server.state.provisioner.issue_operator("vera", OperatorRole::Viewer, None, &actor()).await.unwrap();
    let request = metered.server.request(Method::POST, "/admin/v1/metering/bills?provider=openai");
    let refused = Answer::to(request.bearer_auth(viewer.token.expose_secret()).body(file)).await;
    assert_eq!(refused.verdict(), (403, "permission_denied".to_owned()));
}
