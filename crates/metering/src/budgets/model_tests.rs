//! Two servers, one budget, and whatever can happen to them in any order, against a model that only counts what was spent.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rust_decimal::Decimal;
use serde_json::json;
use tenantry_core::SystemClock;
use tenantry_postgres::{MeterDb, TenantContext, statements};
use testkit::{World, WorldConfig};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::admit::Inner;
use super::keeper;
use super::settings::BudgetSettings;
use super::tenant::{Key, Limit, Tenant, Wish};
use super::{Budgets, Hold, Period, Scope};
use crate::call::{Attribution, Call};

statements! {
    /// What the shipper does.
    BOOK(UUID, DATE, NUMERIC) =
        "INSERT INTO analytics.spend_counters AS c (tenant_id, scope, scope_id, day, cost_usd) VALUES ($1, 'tenant', $1, $2, $3) \
         ON CONFLICT (tenant_id, scope, scope_id, day) DO UPDATE SET cost_usd = c.cost_usd + excluded.cost_usd";
    /// A lease that is over.
    EXPIRE(UUID) = "UPDATE analytics.budget_leases SET expires_at = now() - interval '1 second' WHERE server_id = $1";
    /// Makes a budget of its own for a case.
    MAKE(UUID, UUID, NUMERIC) =
        "INSERT INTO analytics.budgets (id, tenant_id, name, scope, scope_id, period, limit_usd) VALUES ($1, $2, $1::text, 'tenant', $2, 'day', $3)";
    /// What is leased, and what is spent.
    SUMS(UUID, UUID) =
        "SELECT (SELECT COALESCE(sum(greatest(amount_usd, 0)), 0) FROM analytics.budget_leases WHERE budget_id = $1 AND expires_at > now()) AS leased, \
           (SELECT COALESCE(sum(cost_usd), 0) FROM analytics.spend_counters WHERE tenant_id = $2) AS spent";
    /// Nothing was spent yet.
    RESET(UUID) = "DELETE FROM analytics.spend_counters WHERE tenant_id = $1";
}

/// What happens next; the server, and amounts in cents.
#[derive(Debug, Clone)]
enum Step {
    /// A call is admitted, or not.
    Admit { server: usize, hold: u32 },
    /// The oldest call under way ends, and costs so much more or less than was held.
    Settle { server: usize, more: i32 },
    /// The oldest call under way is given up before it was made.
    Drop { server: usize },
    /// Some of what is in the spool is shipped; `heard`: the server learns that it was committed, or it ships the same again.
    Ship { server: usize, heard: bool },
    /// The look of each second.
    Look { server: usize },
    /// It is killed and comes back with its spool.
    Crash { server: usize },
    /// It is killed, and comes back after its lease is over.
    Expire { server: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let server = 0..2_usize;
    prop_oneof![
        6 => (server.clone(), 1..40_u32).prop_map(|(server, hold)| Step::Admit { server, hold }),
        4 => (server.clone(), -10..15_i32).prop_map(|(server, more)| Step::Settle { server, more }),
        1 => server.clone().prop_map(|server| Step::Drop { server }),
        3 => (server.clone(), any::<bool>()).prop_map(|(server, heard)| Step::Ship { server, heard }),
        2 => server.clone().prop_map(|server| Step::Look { server }),
        1 => server.clone().prop_map(|server| Step::Crash { server }),
        1 => server.prop_map(|server| Step::Expire { server }),
    ]
}

fn cents(amount: i64) -> Decimal {
    Decimal::new(amount, 2)
}

struct Server {
    id: Uuid,
    budgets: Budgets,
    under_way: Vec<(Hold, Decimal)>,
    /// Calls on its disk, and whether they are in the database already.
    spool: Vec<(Call, bool)>,
    /// What it has spent, or may have, and no lease accounts for: its lease was over.
    uncovered: Decimal,
}

struct Stage {
    db: MeterDb,
    context: TenantContext,
    budget: Uuid,
    limit: Decimal,
    day: NaiveDate,
    /// What calls cost beyond what was held for them since the limit was last kept.
    overruns: Decimal,
    servers: Vec<Server>,
    inner: Box<dyn Fn(Uuid) -> Budgets>,
}

impl Stage {
    fn key(&self) -> Key {
        Key { budget: self.budget, start: self.day }
    }

    fn call(&self, cost: Decimal) -> Call {
        let at = Utc::now();
        serde_json::from_value(json!({
            "id": Uuid::now_v7(), "tenant_id": self.context.id(), "kind": "call", "adjusts": null, "prices_call": false,
            "operation_id": Uuid::now_v7(), "attempt": 1, "source": "gateway", "attribution": Attribution::default(),
            "provider": "openai", "operation": "responses", "model": "m", "requested_model": null, "service_tier": null, "usage": {},
            "usage_source": "reported", "usage_mismatch": false, "cost": { "cost_usd": cost, "cost_source": "catalogue" },
            "latency_ms": 1, "time_to_first_token_ms": null, "streamed": false, "success": true, "error_message": null,
            "finish": "complete", "status_code": 200, "provider_request_id": null, "timestamp": at, "hour": at, "day": self.day,
        }))
        .unwrap()
    }

    fn tenant(&self, server: usize) -> Arc<Tenant> {
        self.servers[server].budgets.inner.tenant(self.context.id()).unwrap()
    }

    /// A process of this server: it knows the budget, and takes up the leases that its id has.
    async fn start(&self, id: Uuid) -> Budgets {
        let budgets = (self.inner)(id);
        let tenant = Arc::new(Tenant::new(self.context.id(), self.context.tenant().time_zone));
        let limit = Limit {
            id: self.budget,
            name: "case".into(),
            scope: Scope::Tenant,
            scope_id: *self.context.id().as_uuid(),
            period: Period::Day,
            limit_usd: self.limit,
            hard: true,
            version: 1,
            span: None,
        };
        tenant.state().change(limit, false, self.context.tenant().time_zone, Utc::now());
        for found in crate::store::leases::own(&self.db, id).await.unwrap() {
            let until = std::time::Instant::now() + Duration::from_secs_f64(found.seconds);
            tenant.state().inherit(found.key, found.amount, until);
        }
        budgets.inner.tenants.write().unwrap().insert(tenant.id, tenant);
        budgets.inner.loaded.send_replace(true);
        budgets
    }

    /// What is leased, and what is spent, by the database.
    async fn sums(&self) -> (Decimal, Decimal) {
        let tx = self.db.begin().await.unwrap();
        let row = tx.query_one(&SUMS, &[&self.budget, self.context.id().as_uuid()]).await.unwrap();
        tx.commit().await.unwrap();
        (row.try_get("leased").unwrap(), row.try_get("spent").unwrap())
    }

    /// What is spent and not in the database, or may be, by a server.
    fn outside(&self, server: usize) -> Decimal {
        let server = &self.servers[server];
        let unshipped = server.spool.iter().filter(|(_, there)| !there).map(|(call, _)| call.cost.cost_usd.unwrap());
        unshipped.sum::<Decimal>() + server.under_way.iter().map(|(_, held)| *held).sum::<Decimal>()
    }

    /// Whether the limit is kept again: the database knows of all that is spent, and if every server spends what it may it is no more
    /// than the limit. From there on nobody can spend more but by calls that cost more than was held.
    async fn is_kept(&self) -> bool {
        let (_, spent) = self.sums().await;
        let leases = [0, 1].map(|server| {
            let (leased, _, live) = self.tenant(server).state().lease(self.key());
            if live { leased } else { Decimal::ZERO }
        });
        let known = (0..2).all(|server| self.outside(server) <= leases[server]);
        known && spent + leases.iter().sum::<Decimal>() <= self.limit
    }

    async fn ship(&mut self, server: usize, calls: &[Call]) {
        let tx = self.db.begin().await.unwrap();
        for call in calls {
            let cost = call.cost.cost_usd.unwrap();
            tx.execute(&BOOK, &[self.context.id().as_uuid(), &self.day, &cost]).await.unwrap();
        }
        self.servers[server].budgets.in_shipment(&tx, calls).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Admit { server, hold } => {
                let hold = cents(hold.into());
                let outcome =
                    self.servers[server].budgets.admit(&self.context, &Attribution::default(), Some(hold)).await;
                if let Ok(admitted) = outcome {
                    let (_, spent) = self.sums().await;
                    let total = spent + self.outside(0) + self.outside(1) + hold;
                    let uncovered = self.servers.iter().map(|server| server.uncovered).sum::<Decimal>();
                    let (limit, overruns) = (self.limit, self.overruns);
                    prop_assert!(total <= limit + overruns + uncovered, "{total} > {limit} + {overruns} + {uncovered}");
                    self.servers[server].under_way.push((admitted, hold));
                }
            }
            Step::Settle { server, more } if !self.servers[server].under_way.is_empty() => {
                let (hold, held) = self.servers[server].under_way.remove(0);
                let call = self.call((held + cents(more.into())).max(Decimal::new(1, 2)));
                self.overruns += (call.cost.cost_usd.unwrap() - held).max(Decimal::ZERO);
                hold.settle(&call);
                self.servers[server].spool.push((call, false));
            }
            Step::Drop { server } if !self.servers[server].under_way.is_empty() => {
                drop(self.servers[server].under_way.remove(0));
            }
            Step::Ship { server, heard } => {
                let part: Vec<(Call, bool)> = self.servers[server].spool.iter().take(3).cloned().collect();
                let new: Vec<Call> = part.iter().filter(|(_, there)| !there).map(|(call, _)| call.clone()).collect();
                self.ship(server, &new).await;
                let shipped = new.iter().map(|call| call.cost.cost_usd.unwrap()).sum::<Decimal>();
                let server = &mut self.servers[server];
                // It is known now, but may have been leased to somebody else meanwhile.
                self.overruns += server.uncovered.min(shipped);
                server.uncovered = (server.uncovered - shipped).max(Decimal::ZERO);
                if heard {
                    let calls: Vec<Call> = part.into_iter().map(|(call, _)| call).collect();
                    server.budgets.shipped(&calls);
                    server.spool.drain(..calls.len());
                } else {
                    server.spool.iter_mut().take(3).for_each(|(_, there)| *there = true);
                }
            }
            Step::Look { server } => {
                let inner: Arc<Inner> = Arc::clone(&self.servers[server].budgets.inner);
                keeper::resize(inner, self.tenant(server), Wish::Look).await.unwrap();
            }
            Step::Crash { server } | Step::Expire { server } => {
                self.crash(server, matches!(step, Step::Expire { .. })).await
            }
            Step::Settle { .. } | Step::Drop { .. } => {}
        }
        if self.is_kept().await {
            self.overruns = Decimal::ZERO;
        }
        Ok(())
    }

    async fn crash(&mut self, server: usize, expired: bool) {
        let id = self.servers[server].id;
        // What was under way is found as intents, which are shipped as the most that they can have been.
        let under_way: Vec<(Hold, Decimal)> = self.servers[server].under_way.drain(..).collect();
        for (hold, held) in under_way {
            std::mem::forget(hold);
            let call = self.call(held);
            self.servers[server].spool.push((call, false));
        }
        let lost: Decimal = self.servers[server]
            .spool
            .iter()
            .filter(|(_, there)| !there)
            .map(|(call, _)| call.cost.cost_usd.unwrap())
            .sum();
        if expired {
            let tx = self.db.begin().await.unwrap();
            tx.execute(&EXPIRE, &[&id]).await.unwrap();
            tx.commit().await.unwrap();
        }
        let (leased, ..) = self.tenant(server).state().lease(self.key());
        let covered = if expired { Decimal::ZERO } else { leased.max(Decimal::ZERO) };
        self.servers[server].uncovered = self.servers[server].uncovered.max((lost - covered).max(Decimal::ZERO));
        let budgets = self.start(id).await;
        self.servers[server].budgets = budgets;
    }
}

async fn case(stage: &mut Stage, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        stage.apply(step).await?;
    }
    // In the end everything is shipped, and then nothing is leased and the next call is judged by what was spent alone.
    for server in 0..2 {
        stage.servers[server].under_way.clear();
        while !stage.servers[server].spool.is_empty() {
            stage.apply(&Step::Ship { server, heard: true }).await?;
        }
        stage.servers[server].budgets.recovered();
        for _ in 0..3 {
            stage.apply(&Step::Look { server }).await?;
        }
    }
    let (leased, spent) = stage.sums().await;
    prop_assert_eq!(leased, Decimal::ZERO, "nothing is leased when nothing is under way");
    let rest = stage.limit - spent;
    if rest > Decimal::ZERO {
        let all = stage.servers[0].budgets.admit(&stage.context, &Attribution::default(), Some(rest)).await;
        prop_assert!(all.is_ok(), "the rest of {rest} can be spent: {all:?}");
    }
    let more = stage.servers[1].budgets.admit(&stage.context, &Attribution::default(), Some(cents(1))).await;
    prop_assert!(more.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_events_breaks_the_bound() {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let runtime = Handle::current();
    let run = move || {
        let config = Config { cases: 100, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
        let db = MeterDb::new(&world.database.config, 2);
        let steps = (20..120_u32, proptest::collection::vec(step(), 5..45));
        // The same cases each time: what fails here fails for everybody. `TENANTRY_RANDOM_CASES` tries others.
        let mut runner = if std::env::var_os("TENANTRY_RANDOM_CASES").is_some() {
            TestRunner::new(config)
        } else {
            TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        };
        runner.run(&steps, |(limit, steps)| {
            runtime.block_on(async {
                let (budget, limit) = (Uuid::now_v7(), cents(limit.into()));
                let tx = db.begin().await.unwrap();
                tx.execute(&RESET, &[context.id().as_uuid()]).await.unwrap();
                tx.execute(&MAKE, &[&budget, context.id().as_uuid(), &limit]).await.unwrap();
                tx.commit().await.unwrap();
                let config = world.database.config.clone();
                let settings = BudgetSettings { slice_percent: 20, ..BudgetSettings::default() };
                let inner = move |id| Budgets::idle(&config, &settings, Arc::new(SystemClock), id);
                let day = Utc::now().date_naive();
                let mut stage = Stage {
                    db: db.clone(),
                    context: context.clone(),
                    budget,
                    limit,
                    day,
                    overruns: Decimal::ZERO,
                    servers: Vec::new(),
                    inner: Box::new(inner),
                };
                for _ in 0..2 {
                    let id = Uuid::now_v7();
                    let budgets = stage.start(id).await;
                    let server =
                        Server { id, budgets, under_way: Vec::new(), spool: Vec::new(), uncovered: Decimal::ZERO };
                    stage.servers.push(server);
                }
                case(&mut stage, &steps).await
            })
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}
