//! Prices on a real database: loaded everywhere, each tenant's own, and calls that are priced again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use chrono::{DateTime, TimeDelta, Utc};
use metering::prices::{LoadError, LoadRequest, PriceQuery, Prices, Reprice, Repriced, recompute};
use metering::store::{audit, book, overrides, prices as store};
use metering::usage::Usage;
use metering::{
    Attribution, Call, CostSource, Costed, CreatePriceOverride, Decimal, Finish, Kind, Source, UsageSource, bucket,
};
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use tenantry_postgres::{Actor, MeterDb, TenantContext};
use testkit::{World, WorldConfig};
use tokio_postgres::Client;
use uuid::Uuid;
use workforce::Validate as _;

struct Shop {
    world: World,
    db: MeterDb,
    admin: Client,
}

impl Shop {
    async fn open() -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        let db = MeterDb::new(&world.database.config, 3);
        let admin = world.admin().await;
        Self { world, db, admin }
    }

    async fn tenant(&self, slug: &str) -> (TenantId, TenantContext) {
        let tenant = self.world.tenant(slug).await.tenant.id;
        (tenant, self.world.context(slug).await)
    }

    async fn load(&self, prices: &Prices, models: &str, dry_run: bool) -> Result<metering::prices::Loaded, LoadError> {
        let text = format!("format = 1\n[[provider]]\nname = \"acme_ai\"\n{models}");
        let request = LoadRequest { text, note: "test".to_owned(), dry_run };
        prices.load(&self.db, &request, &actor(), Utc::now()).await
    }

    async fn agree(&self, context: &TenantContext, multiplier: &str) -> metering::PriceOverride {
        let new = CreatePriceOverride {
            provider: "acme_ai".into(),
            model: "*".into(),
            multiplier: Some(multiplier.parse().unwrap()),
            valid_from: Some("2020-01-01T00:00:00Z".parse().unwrap()),
            ..CreatePriceOverride::default()
        };
        let mut tx = self.world.db.begin(context).await.unwrap();
        let made = overrides::create(&mut tx, &new.validated().unwrap(), Utc::now()).await.unwrap();
        tx.commit().await.unwrap();
        made
    }

    async fn record(&self, calls: &[Call]) {
        let tx = self.db.begin().await.unwrap();
        assert_eq!(book(&tx, calls).await.unwrap().len(), calls.len());
        tx.commit().await.unwrap();
    }

    async fn reprice(&self, change: impl FnOnce(&mut Reprice)) -> Repriced {
        self.reprice_until(change, |_| true).await
    }

    async fn reprice_until(&self, change: impl FnOnce(&mut Reprice), go_on: impl FnMut(&Repriced) -> bool) -> Repriced {
        let mut what = Reprice {
            tenant: None,
            since: DateTime::UNIX_EPOCH,
            until: Utc::now() + TimeDelta::days(1),
            changed: false,
            dry_run: false,
            reason: "a wrong price".to_owned(),
            after: None,
            at_most: u64::MAX,
        };
        change(&mut what);
        Prices::default().reprice(&self.db, &what, &actor(), Utc::now(), go_on).await.unwrap()
    }

    /// Everything that a run may leave behind: adjustments and their sum, the counters' cost and unpriced calls, marked hours.
    async fn books(&self) -> (i64, Decimal, Decimal, i64, i64) {
        let sql = "SELECT (SELECT count(*) FROM analytics.provider_api_calls WHERE kind = 'adjustment'), \
            (SELECT coalesce(sum(cost_usd), 0) FROM analytics.provider_api_calls), \
            (SELECT coalesce(sum(cost_usd), 0) FROM analytics.spend_counters WHERE scope = 'tenant'), \
            (SELECT coalesce(sum(unpriced_calls), 0)::bigint FROM analytics.spend_counters WHERE scope = 'tenant'), \
            (SELECT count(*) FROM analytics.dirty_hours)";
        let row = self.admin.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
    }
}

fn actor() -> Actor {
    Actor::system("test")
}

fn model(name: &str, input: &str) -> String {
    format!(
        "[[provider.model]]\nname = \"{name}\"\n[[provider.model.price]]\nfrom = \"2020-01-01\"\nsource = \"contract\"\n\
         checked = \"2026-01-01\"\ninput = \"{input}\"\noutput = \"10\"\n"
    )
}

fn call(tenant: TenantId, model: &str, at: DateTime<Utc>) -> Call {
    let (hour, day) = bucket(at, Tz::UTC);
    Call {
        id: Uuid::now_v7(),
        tenant_id: tenant,
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: Uuid::now_v7(),
        attempt: 1,
        source: Source::Api,
        attribution: Attribution { agent_id: Some(Uuid::from_u128(5)), ..Attribution::default() },
        provider: "acme_ai".to_owned(),
        operation: "chat.completions".to_owned(),
        model: model.to_owned(),
        requested_model: None,
        service_tier: None,
        usage: Usage { input: 1000, output: 100, ..Usage::default() },
        usage_source: UsageSource::Reported,
        usage_mismatch: false,
        cost: Costed::unpriced(),
        latency_ms: 1,
        time_to_first_token_ms: None,
        streamed: false,
        success: true,
        error_message: None,
        finish: Finish::Complete,
        status_code: Some(200),
        provider_request_id: None,
        timestamp: at,
        hour,
        day,
    }
}

fn query(tenant: TenantId, at: DateTime<Utc>) -> PriceQuery<'static> {
    PriceQuery { tenant, account: None, provider: "acme_ai", model: "m", service_tier: None, at }
}

/// The cost of a call of [`call`]'s size now.
fn costs(prices: &Prices, tenant: TenantId) -> Option<String> {
    let usage = Usage { input: 1000, output: 100, ..Usage::default() };
    prices.cost(&query(tenant, Utc::now()), &usage).cost_usd.map(|cost| cost.normalize().to_string())
}

#[tokio::test]
async fn a_loaded_catalogue_counts_on_every_server() {
    let shop = Shop::open().await;
    let (tenant, _) = shop.tenant("acme").await;
    let (here, there) = (Prices::default(), Prices::default());
    assert!(there.refresh(&shop.db).await.unwrap() && !there.refresh(&shop.db).await.unwrap(), "read once");
    assert_eq!(costs(&there, tenant), None);

    let tried = shop.load(&here, &model("m", "1"), true).await.unwrap();
    assert_eq!((tried.id, tried.differences.len()), (None, 1));
    assert!(!there.refresh(&shop.db).await.unwrap(), "a dry run changes nothing");
    let invalid = shop.load(&here, &model("m", "9999"), false).await.unwrap_err();
    assert!(matches!(invalid, LoadError::Invalid(_)), "{invalid}");

    let loaded = shop.load(&here, &model("m", "1"), false).await.unwrap();
    assert_eq!(costs(&here, tenant).as_deref(), Some("0.002"), "here at once");
    assert_eq!(costs(&there, tenant), None);
    assert!(there.refresh(&shop.db).await.unwrap());
    assert_eq!(costs(&there, tenant).as_deref(), Some("0.002"));
    assert_eq!(shop.load(&here, &model("m", "1"), false).await.unwrap().id, loaded.id, "the same again is the same");

    shop.load(&here, &model("m", "2"), false).await.unwrap();
    there.refresh(&shop.db).await.unwrap();
    assert_eq!(costs(&there, tenant).as_deref(), Some("0.003"));
    let sql = "SELECT actor, target, details->>'digest' FROM audit.events WHERE action = 'prices.load' ORDER BY id";
    let events = shop.admin.query(sql, &[]).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].get::<_, &str>(1), format!("price-catalogue/{}", loaded.id.unwrap()));
    assert_eq!(events[0].get::<_, &str>(2), loaded.digest);

    // the role may say this of prices, that of the platform's bills and of tenants' statements, and nothing else
    for (whose, action) in
        [(None, "tenant.create"), (Some(tenant), "bill.import"), (None, "statement.close"), (None, "bill.remove")]
    {
        let tx = shop.db.begin().await.unwrap();
        let denied = audit::tell(&tx, whose, &actor(), action, "x", &serde_json::json!({})).await.unwrap_err();
        assert_eq!(denied.sqlstate(), Some("42501"), "{action}");
    }
}

#[tokio::test]
async fn servers_look_for_changes_by_themselves() {
    let shop = Shop::open().await;
    let (tenant, context) = shop.tenant("acme").await;
    shop.load(&Prices::default(), &model("m", "1"), false).await.unwrap();
    let prices = Prices::default();
    prices.begin(&shop.db, std::time::Duration::from_secs(5)).await;
    let (server, db) = (prices.clone(), shop.db.clone());
    let keeping = tokio::spawn(async move { server.keep_current(&db).await });
    assert_eq!(costs(&prices, tenant).as_deref(), Some("0.002"));
    let begun = std::time::Instant::now();
    shop.agree(&context, "0.5").await;
    while costs(&prices, tenant).as_deref() != Some("0.001") {
        assert!(begun.elapsed().as_secs() < 20, "the change is never seen");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    keeping.abort();
}

#[tokio::test]
async fn without_the_databases_prices_nothing_is_priced() {
    let shop = Shop::open().await;
    let (tenant, _) = shop.tenant("acme").await;
    let away = MeterDb::new(&shop.world.database.by_way_of(1).config, 1);
    let prices = Prices::default();
    let openai = PriceQuery { provider: "openai", model: "gpt-4o", ..query(tenant, Utc::now()) };
    let used = Usage { input: 1, ..Usage::default() };
    assert!(prices.cost(&openai, &used).cost_usd.is_some());
    prices.begin(&away, std::time::Duration::from_millis(50)).await;
    assert_eq!(
        prices.cost(&openai, &used),
        Costed::unpriced(),
        "the catalogue in the program may not be what it costs"
    );
    prices.refresh(&shop.db).await.unwrap();
    assert!(prices.cost(&openai, &used).cost_usd.is_some());
}

#[tokio::test]
async fn an_override_of_one_tenant_never_prices_anothers_call() {
    let shop = Shop::open().await;
    let ((acme, acme_context), (globex, globex_context)) = (shop.tenant("acme").await, shop.tenant("globex").await);
    let prices = Prices::default();
    shop.load(&prices, &model("m", "1"), false).await.unwrap();
    let own = shop.agree(&acme_context, "0.5").await;
    prices.refresh(&shop.db).await.unwrap();
    let both = |prices: &Prices| (costs(prices, acme).unwrap(), costs(prices, globex).unwrap());
    assert_eq!(both(&prices), ("0.001".to_owned(), "0.002".to_owned()));

    let seen = async |context: &TenantContext| {
        let mut tx = shop.world.db.begin(context).await.unwrap();
        let limit = tenantry_http::Limit::from_query(None).unwrap();
        let listed = overrides::list(&mut tx, None, None, limit).await.unwrap().data.len();
        let found = overrides::find(&mut tx, own.id).await.is_ok();
        (listed, found, overrides::delete(&mut tx, own.id).await.is_ok())
    };
    assert_eq!(seen(&globex_context).await, (0, false, false));
    assert_eq!(seen(&acme_context).await, (1, true, true));

    // Negative controls: without row level security the other sees it, and a row with the other's id prices the other's calls.
    shop.admin.batch_execute("ALTER TABLE analytics.price_overrides DISABLE ROW LEVEL SECURITY").await.unwrap();
    assert_eq!(seen(&globex_context).await, (1, true, true), "the defence is row level security");
    let sql = "ALTER TABLE analytics.price_overrides ENABLE ROW LEVEL SECURITY; \
               UPDATE analytics.price_overrides SET id = gen_random_uuid(), tenant_id = (SELECT id FROM public.tenants WHERE slug = 'globex')";
    shop.admin.batch_execute(sql).await.unwrap();
    prices.refresh(&shop.db).await.unwrap();
    assert_eq!(both(&prices), ("0.002".to_owned(), "0.001".to_owned()), "whose a row is decides whose calls it prices");
}

#[tokio::test]
async fn overrides_do_not_overlap_and_are_audited() {
    let shop = Shop::open().await;
    let (_, context) = shop.tenant("acme").await;
    let first = shop.agree(&context, "0.5").await;
    let again = CreatePriceOverride {
        provider: "acme_ai".into(),
        model: "*".into(),
        multiplier: Some("0.9".parse().unwrap()),
        ..CreatePriceOverride::default()
    };
    let create = async |new: &CreatePriceOverride| {
        let mut tx = shop.world.db.begin(&context).await.unwrap();
        let made = overrides::create(&mut tx, &new.clone().validated().unwrap(), Utc::now()).await;
        tx.rollback().await.unwrap();
        made.map_err(|problem| problem.code())
    };
    assert_eq!(create(&again).await.unwrap_err(), "price_override_overlaps");
    let account = CreatePriceOverride { provider_account_id: Some(Uuid::nil()), ..again.clone() };
    assert_eq!(create(&account).await.unwrap_err(), "unknown_provider_account");
    create(&CreatePriceOverride { model: "m*".into(), ..again }).await.unwrap();
    let mut tx = shop.world.db.begin(&context).await.unwrap();
    overrides::delete(&mut tx, first.id).await.unwrap();
    tx.commit().await.unwrap();
    let sql = "SELECT action FROM audit.events WHERE target = $1 ORDER BY id";
    let events = shop.admin.query(sql, &[&format!("price-override/{}", first.id)]).await.unwrap();
    let actions: Vec<&str> = events.iter().map(|row| row.get(0)).collect();
    assert_eq!(actions, ["price_override.create", "price_override.delete"]);
}

#[tokio::test]
async fn calls_without_a_price_get_it_once() {
    let shop = Shop::open().await;
    let ((acme, _), (globex, globex_context)) = (shop.tenant("acme").await, shop.tenant("globex").await);
    let at = Utc::now() - TimeDelta::hours(1);
    let calls: Vec<Call> = (0..1100)
        .map(|n| call(if n % 2 == 0 { acme } else { globex }, if n % 11 == 0 { "other" } else { "m" }, at))
        .collect();
    shop.record(&calls).await;
    assert_eq!(shop.books().await, (0, Decimal::ZERO, Decimal::ZERO, 1100, 2));
    shop.load(&Prices::default(), &model("m", "1"), false).await.unwrap();
    shop.agree(&globex_context, "0.5").await;
    shop.admin.batch_execute("DELETE FROM analytics.dirty_hours").await.unwrap();

    let tried = shop.reprice(|what| what.dry_run = true).await;
    assert_eq!((tried.calls, tried.adjusted, tried.without_price), (1100, 1000, 100));
    assert_eq!(shop.books().await, (0, Decimal::ZERO, Decimal::ZERO, 1100, 0), "a dry run changes nothing");

    // one tenant, and one that is ended after its first transaction
    let first = shop.reprice_until(|what| what.tenant = Some(acme), |_| false).await;
    assert!(first.calls == 500 && (400..500).contains(&first.adjusted), "{first:?}");
    assert!(first.next.is_some());
    // two at once do what is left
    let (one, two) = tokio::join!(shop.reprice(|_| {}), shop.reprice(|_| {}));
    assert_eq!(first.adjusted + one.adjusted + two.adjusted, 1000);
    let total: Decimal = "1.5".parse().unwrap();
    assert_eq!(first.delta_usd + one.delta_usd + two.delta_usd, total);
    let after = shop.books().await;
    assert_eq!(after, (1000, total, total, 100, 2), "500 for 0.002 and 500 for 0.001, less those of the other model");
    assert_eq!(shop.reprice(|_| {}).await.adjusted, 0, "once");
    assert_eq!(shop.books().await, after);

    let sql = "SELECT a.cost_usd, a.rates, c.usage, a.tokens_input, a.prices_call, a.\"timestamp\" = c.\"timestamp\" AND a.hour = c.hour AND a.day = c.day, \
                 a.cost_source, a.agent_id = c.agent_id, a.list_baseline_usd >= a.cost_usd \
               FROM analytics.provider_api_calls a JOIN analytics.provider_api_calls c ON c.id = a.adjusts";
    for row in shop.admin.query(sql, &[]).await.unwrap() {
        let usage: Usage = serde_json::from_value(row.get(2)).unwrap();
        assert_eq!(recompute(&row.get(1), &usage).unwrap(), row.get::<_, Decimal>(0));
        assert_eq!((row.get::<_, i64>(3), row.get::<_, &str>(6)), (0, CostSource::Adjustment.as_str()));
        assert!(row.get::<_, bool>(4) && row.get::<_, bool>(5) && row.get::<_, bool>(7));
        assert_eq!(row.get::<_, Option<bool>>(8), Some(true), "the first price comes with what it is compared with");
    }
    let sql = "SELECT sum((details->>'adjusted')::int)::int, count(DISTINCT tenant_id)::int FROM audit.events WHERE action = 'prices.reprice'";
    let told = shop.admin.query_one(sql, &[]).await.unwrap();
    assert_eq!((told.get::<_, i32>(0), told.get::<_, i32>(1)), (1000, 2), "each tenant's trail tells of it");
}

#[tokio::test]
async fn wrongly_priced_calls_get_the_difference() {
    let shop = Shop::open().await;
    let (acme, _) = shop.tenant("acme").await;
    let prices = Prices::default();
    let loaded = shop.load(&prices, &model("m", "1"), false).await.unwrap();
    assert_eq!(loaded.effect.calls, 0);
    let at = Utc::now() - TimeDelta::hours(1);
    let mut priced = call(acme, "m", at);
    priced.cost = prices.cost(&query(acme, at), &priced.usage);
    let billed = Call { cost: Costed::of(Some(Decimal::ONE), CostSource::Provider), ..call(acme, "m", at) };
    let late = call(acme, "m", at);
    shop.record(&[priced.clone(), billed, late]).await;
    assert_eq!(shop.reprice(|_| {}).await.adjusted, 1, "the one that had no price");

    let cheaper = shop.load(&prices, &model("m", "0.4"), true).await.unwrap();
    let effect = cheaper.effect;
    assert_eq!(
        (effect.calls, effect.models.len(), effect.models[0].calls),
        (2, 1, 2),
        "the provider's word is not ours"
    );
    assert_eq!(
        (effect.before_usd.normalize(), effect.after_usd.normalize()),
        ("0.002".parse().unwrap(), "0.0028".parse().unwrap())
    );
    assert_eq!(effect.models[0].newly_priced, 1, "as it was recorded");
    shop.load(&prices, &model("m", "0.4"), false).await.unwrap();

    let tried = shop.reprice(|what| (what.changed, what.dry_run) = (true, true)).await;
    assert_eq!((tried.calls, tried.adjusted, tried.delta_usd.normalize().to_string().as_str()), (2, 2, "-0.0012"));
    let before = shop.books().await;
    shop.reprice(|what| what.changed = true).await;
    let after = shop.books().await;
    assert_eq!((after.0, after.1 - before.1), (before.0 + 2, tried.delta_usd));
    assert_eq!((after.1, after.3), (after.2, 0), "rows and counters agree");
    assert_eq!(shop.reprice(|what| what.changed = true).await.adjusted, 0, "once");

    // back again is a difference as well; in a closed month it is booked now
    let closed = "INSERT INTO analytics.statements (tenant_id, month, number, time_zone, period_start, period_end, calls, unpriced_calls, \
                    estimated_calls, unsettled_calls, cost_usd, amount_usd, display_currency, digest, closed_at, closed_by) \
                  SELECT DISTINCT tenant_id, date_trunc('month', day::timestamp)::date, 1, 'UTC', now() - interval '1 day', now(), 0, 0, 0, 0, 0, 0, \
                    'USD', sha256('x'), now(), 'test' FROM analytics.provider_api_calls";
    shop.admin.batch_execute(closed).await.unwrap();
    shop.load(&prices, &model("m", "1"), false).await.unwrap();
    assert_eq!(shop.reprice(|what| what.changed = true).await.delta_usd, -tried.delta_usd);
    let sql = "SELECT count(*) FROM analytics.provider_api_calls WHERE kind = 'adjustment' AND \"timestamp\" > $1";
    assert_eq!(shop.admin.query_one(sql, &[&(Utc::now() - TimeDelta::minutes(5))]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(shop.books().await.1, before.1);
    // where there is no price any more, nothing is taken back
    shop.load(&prices, &model("n", "1"), false).await.unwrap();
    let gone = shop.reprice(|what| what.changed = true).await;
    assert_eq!((gone.adjusted, gone.without_price), (0, 2));
}

#[tokio::test]
async fn a_call_never_seen_to_end_costs_the_most_once_nothing_is_heard_of_it() {
    let shop = Shop::open().await;
    let (acme, _) = shop.tenant("acme").await;
    let unsettled = |age| Call {
        usage: Usage { input: 1000, ..Usage::default() },
        usage_source: UsageSource::Unsettled,
        ..call(acme, "m", Utc::now() - age)
    };
    shop.record(&[unsettled(TimeDelta::hours(2)), unsettled(TimeDelta::days(2))]).await;
    let limited = model("m", "1").replacen("\"m\"\n", "\"m\"\nmax_output_tokens = 500\n", 1);
    shop.load(&Prices::default(), &limited, false).await.unwrap();
    let priced = shop.reprice(|_| {}).await;
    let told = (priced.calls, priced.adjusted, priced.delta_usd.normalize().to_string());
    assert_eq!(told, (1, 1, "0.006".to_owned()), "as much as the model writes; the end of the other may still come");
    assert_eq!(shop.reprice(|_| {}).await.adjusted, 0, "once");
}

#[tokio::test]
async fn a_run_goes_on_where_it_ended() {
    let shop = Shop::open().await;
    let (acme, _) = shop.tenant("acme").await;
    let at = Utc::now() - TimeDelta::hours(1);
    shop.record(&(0..7).map(|n| call(acme, "m", at + TimeDelta::seconds(n / 3))).collect::<Vec<_>>()).await;
    shop.load(&Prices::default(), &model("m", "1"), false).await.unwrap();
    let mut after = None;
    let mut adjusted = 0;
    loop {
        let done = shop.reprice(|what| (what.dry_run, what.at_most, what.after) = (true, 3, after.take())).await;
        adjusted += done.adjusted;
        after = done.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(adjusted, 7, "each once, also those of one moment");
}

#[tokio::test]
async fn every_statement_fits_the_migrated_schema() {
    let shop = Shop::open().await;
    let (_, context) = shop.tenant("acme").await;
    let (schema, role) = (&context.tenant().schema, context.tenant().role());
    for (role, statements) in
        [("tenantry_meter".to_owned(), store::STATEMENTS.to_vec()), (role.quoted(), overrides::STATEMENTS.to_vec())]
    {
        shop.admin.batch_execute(&format!("SET ROLE {role}; SET search_path = pg_catalog, pg_temp")).await.unwrap();
        for statement in statements {
            let prepared = shop.admin.prepare_typed(&statement.for_schema(schema), statement.params()).await;
            prepared.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        }
        shop.admin.batch_execute("RESET ROLE").await.unwrap();
    }
}
