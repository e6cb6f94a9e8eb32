//! Calls of every kind, and the sums of their hours.

use chrono::TimeDelta;
use metering::{Decimal, bucket};
use serde_json::{Value, json};
use tenantry_postgres::TenantContext;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{Stage, ZONE};

/// How many calls a company has.
pub(crate) const CALLS: usize = 700;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn of<'t, T>(&mut self, values: &'t [T]) -> &'t T {
        &values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.below(u64::MAX), self.below(u64::MAX))
    }
}

/// Ids and names that a company's calls have.
struct Names {
    agents: [Option<Uuid>; 3],
    keys: [Option<Uuid>; 3],
    accounts: [Option<Uuid>; 2],
    types: [Option<String>; 3],
    tasks: Vec<Option<Uuid>>,
}

/// Makes calls of eleven weeks until now, some adjusted, and outcomes of their tasks. All texts hold the mark.
pub(crate) async fn calls(stage: &Stage, of: &TenantContext, mark: &str, seed: u64) {
    let mut dice = Dice(seed);
    let ids = |dice: &mut Dice| [Some(dice.id()), Some(dice.id()), None];
    let names = Names {
        agents: ids(&mut dice),
        keys: ids(&mut dice),
        accounts: [Some(dice.id()), None],
        types: [Some(format!("=triage {mark}")), Some(format!("reply {mark}")), None],
        tasks: (0..40).map(|n| (n > 3).then(|| dice.id())).collect(),
    };
    let mut rows: Vec<Value> = (0..CALLS).map(|_| call(&mut dice, stage, of, mark, &names)).collect();
    let adjusted: Vec<Value> = rows.iter().step_by(37).map(|row| adjustment(&mut dice, row)).collect();
    rows.extend(adjusted);
    insert(&stage.admin, &rows).await;
    for task in names.tasks.iter().flatten() {
        let status = *dice.of(&["completed", "completed", "failed", "cancelled"]);
        let finished = stage.now() - TimeDelta::hours(i64::try_from(dice.below(24 * 60)).unwrap());
        let sql = "INSERT INTO analytics.task_outcomes (tenant_id, task_id, agent_id, provider, status, finished_at) VALUES ($1, $2, $3, 'openai', $4, $5)";
        stage.admin.execute(sql, &[of.id().as_uuid(), task, &names.agents[0], &status, &finished]).await.unwrap();
    }
    let role =
        "INSERT INTO SCHEMA.agents (id, name, role, personality_prompt, status) VALUES ($1, $2, 'x', '', 'idle')"
            .replace("SCHEMA", &of.tenant().schema.quoted());
    stage.admin.execute(&role, &[&names.agents[0].unwrap(), &format!("Mira {mark}")]).await.unwrap();
    let budget = "INSERT INTO analytics.budgets (id, tenant_id, name, scope, scope_id, period, limit_usd) \
                  VALUES (gen_random_uuid(), $1, 'All of ' || $2, 'tenant', $1, 'month', 100)";
    stage.admin.execute(budget, &[of.id().as_uuid(), &mark]).await.unwrap();
}

fn call(dice: &mut Dice, stage: &Stage, of: &TenantContext, mark: &str, names: &Names) -> Value {
    let minutes = dice.below(76 * 24 * 60);
    let at = stage.now() - TimeDelta::minutes(i64::try_from(minutes).unwrap());
    let (hour, day) = bucket(at, ZONE);
    let (provider, model) =
        dice.of(&[("openai", "gpt-5"), ("openai", "gpt-5-mini"), ("anthropic", "claude-sonnet-4-5")]);
    let (input, output) = (dice.below(20_000), dice.below(3000));
    let (read, reasoning) = (if dice.percent(40) { input / 2 } else { 0 }, output / 10);
    let failed = dice.percent(8);
    let source = if dice.percent(4) {
        "estimated"
    } else if dice.percent(2) {
        "unsettled"
    } else {
        "reported"
    };
    let unpriced = dice.percent(6);
    // twelve decimals, so that whatever rounds is found out
    let cost = Decimal::from_i128_with_scale(i128::from(dice.below(90_000_000_000)) + 1, 12);
    let cost = (!unpriced).then_some(cost);
    let covered = cost.is_some() && dice.percent(80);
    json!({
        "id": dice.id(), "tenant_id": of.id().as_uuid(), "kind": "call", "operation_id": dice.id(),
        "attempt": if dice.percent(6) { 2 } else { 1 }, "source": "api", "agent_id": dice.of(&names.agents), "api_key_id": dice.of(&names.keys),
        "provider_account_id": dice.of(&names.accounts), "task_id": dice.of(&names.tasks), "task_type": dice.of(&names.types),
        "provider": provider, "operation": dice.of(&["chat.completions", "embeddings"]), "model": format!("{model}-{mark}"),
        "tokens_input": input, "tokens_output": output, "tokens_cache_read": read, "tokens_cache_write": 0, "tokens_reasoning": reasoning,
        "usage": { "input": input - read, "cache_read": read, "output": output - reasoning, "reasoning": reasoning },
        "usage_source": source, "cost_usd": cost, "cost_source": if unpriced { "unpriced" } else { "catalogue" },
        "list_baseline_usd": covered.then(|| cost.unwrap() * Decimal::from(3)),
        "like_baseline_usd": covered.then(|| cost.unwrap() * Decimal::from(2) / Decimal::from(4)),
        "optimal": covered.then(|| dice.percent(60)), "latency_ms": 1 + dice.below(9000),
        "time_to_first_token_ms": dice.percent(50).then(|| dice.below(900)), "streamed": true, "success": !failed,
        "finish": if failed { "error" } else { "complete" }, "client_reference": format!("-{mark}"),
        "error_message": failed.then(|| format!("@refused, \"{mark}\"")), "timestamp": at, "hour": hour, "day": day, "prices_call": false,
    })
}

/// An adjustment of a call, half of them of a later time: the month of the call is closed then.
fn adjustment(dice: &mut Dice, call: &Value) -> Value {
    let mut row = call.clone();
    let was_unpriced = call["cost_usd"].is_null();
    let amount = Decimal::from_i128_with_scale(i128::from(dice.below(2_000_000_000)) - 1_000_000_000, 12);
    let changes = json!({
        "id": dice.id(), "kind": "adjustment", "adjusts": call["id"], "prices_call": was_unpriced, "tokens_input": 0, "tokens_output": 0,
        "tokens_cache_read": 0, "tokens_reasoning": 0, "usage": {}, "usage_source": "none", "cost_usd": amount, "cost_source": "adjustment",
        "list_baseline_usd": null, "like_baseline_usd": null, "optimal": null, "latency_ms": 0, "time_to_first_token_ms": null, "streamed": false,
        "success": true, "finish": "complete", "error_message": null,
    });
    row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    row
}

/// Inserts rows as they are.
pub(crate) async fn insert(admin: &Client, rows: &[Value]) {
    let sql = "INSERT INTO analytics.provider_api_calls (id, tenant_id, kind, adjusts, prices_call, operation_id, attempt, source, agent_id, \
        api_key_id, provider_account_id, task_id, task_type, provider, operation, model, tokens_input, tokens_output, tokens_cache_read, \
        tokens_cache_write, tokens_reasoning, usage, usage_source, cost_usd, cost_source, list_baseline_usd, like_baseline_usd, optimal, \
        latency_ms, time_to_first_token_ms, streamed, success, finish, client_reference, error_message, \"timestamp\", hour, day) \
        SELECT id, tenant_id, kind, adjusts, prices_call, operation_id, attempt, source, agent_id, api_key_id, provider_account_id, task_id, \
        task_type, provider, operation, model, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning, usage, \
        usage_source, cost_usd, cost_source, list_baseline_usd, like_baseline_usd, optimal, latency_ms, time_to_first_token_ms, streamed, \
        success, finish, client_reference, error_message, \"timestamp\", hour, day \
        FROM jsonb_populate_recordset(NULL::analytics.provider_api_calls, $1)";
    for rows in rows.chunks(2000) {
        assert_eq!(admin.execute(sql, &[&json!(rows)]).await.unwrap(), rows.len() as u64);
    }
}

/// Makes the sums of all hours from the calls.
pub(crate) async fn roll_up(admin: &Client) {
    let buckets: Vec<String> = (1..=32).map(|n| format!("count(*) FILTER (WHERE kind = 'call' AND b = {n})")).collect();
    let sql = format!(
        "INSERT INTO analytics.hourly_metrics SELECT tenant_id, hour, day, provider, model, operation, agent_id, api_key_id, provider_account_id, \
         task_type, count(*) FILTER (WHERE kind = 'call'), count(*) FILTER (WHERE kind = 'call' AND attempt = 1), \
         count(*) FILTER (WHERE kind = 'call' AND success), \
         count(*) FILTER (WHERE kind = 'call' AND cost_usd IS NULL) - count(*) FILTER (WHERE kind = 'adjustment' AND prices_call), \
         count(*) FILTER (WHERE kind = 'call' AND usage_source = 'estimated'), count(*) FILTER (WHERE kind = 'call' AND usage_source = 'unsettled'), \
         coalesce(sum(cost_usd), 0), coalesce(sum(cost_usd) FILTER (WHERE kind = 'adjustment'), 0), \
         coalesce(sum(cost_usd) FILTER (WHERE NOT success), 0), \
         coalesce(sum(cost_usd) FILTER (WHERE usage_source IN ('estimated', 'unsettled')), 0), \
         count(list_baseline_usd), coalesce(sum(cost_usd) FILTER (WHERE list_baseline_usd IS NOT NULL), 0), \
         coalesce(sum(list_baseline_usd), 0), coalesce(sum(like_baseline_usd), 0), count(*) FILTER (WHERE optimal), \
         sum(tokens_input), sum(tokens_output), sum(tokens_cache_read), sum(tokens_cache_write), sum(tokens_reasoning), sum(latency_ms), \
         ARRAY[{}], coalesce(sum(time_to_first_token_ms), 0), count(time_to_first_token_ms) \
         FROM (SELECT *, width_bucket(latency_ms, analytics.latency_bounds()) + 1 AS b FROM analytics.provider_api_calls) c \
         GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        buckets.join(", ")
    );
    admin.execute(&sql, &[]).await.unwrap();
    roll_up_days(admin).await;
}

/// Makes the sums of all days from those of the hours.
pub(crate) async fn roll_up_days(admin: &Client) {
    let sql = "INSERT INTO analytics.daily_metrics (tenant_id, date, provider, agent_id, total_calls, total_cost_usd) \
        SELECT tenant_id, day, provider, agent_id, sum(total_calls), sum(cost_usd) FROM analytics.hourly_metrics GROUP BY 1, 2, 3, 4";
    admin.execute(sql, &[]).await.unwrap();
}
