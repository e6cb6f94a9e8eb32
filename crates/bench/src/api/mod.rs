//! What the API does with everything on, beside the same operations in Node.

mod agree;
mod commits;
mod node;
mod operations;

use std::net::SocketAddr;

use anyhow::ensure;
use secrecy::SecretString;
use tenantry::Settings;

use crate::ground::{Ground, slug};
use crate::load::{Answer, Load};
use crate::report::{Report, Row};
use crate::serve::Ours;
use crate::stats::{median, median_ratio};
use crate::{Options, access_log};

use node::{Node, Variant};
use operations::Operation;

const CLIENTS: usize = 8;
const TENANTS: usize = 100;
const GOAL: f64 = 5.0;
/// Before anything is measured, each side reads for so many seconds: pools fill, and Node compiles what is hot.
const START_UP: f64 = 10.0;
/// Before an operation is measured, each side does it for so many windows: statements are prepared for each tenant on each
/// connection, and planned anew the first five times.
const WARM_UP: f64 = 4.0;
/// Of our server, of ourselves, and spare.
const OTHER_CONNECTIONS: usize = 150;
/// So high that nobody is refused; but everybody is counted.
const LIMITS: &str = "UPDATE public.plans SET requests_per_minute = 1000000000, max_agents = 1000000000, \
                      max_concurrent_tasks = 1000000000, max_tasks_per_month = 1000000000, storage_limit_gb = 1000000";

/// Who answers.
struct Side {
    name: String,
    address: SocketAddr,
    /// Differs from another side in changes only.
    changes_only: bool,
}

pub(super) async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("api");
    let log = access_log::start(&options.out)?;
    let variants = Variant::all(options.node_workers);
    let processes: usize = variants.iter().map(|variant| variant.processes).sum();
    let theirs = processes * (TENANTS * node::POOL + node::REGISTRY_POOL);
    let ground = Ground::with_connections("api", None, theirs + OTHER_CONNECTIONS).await?;
    report.fact("server", ground.facts());
    report.fact(
        "load",
        format!(
            "a child process, {CLIENTS} kept-alive connections, each through {TENANTS} tenants in an order of its own, the same requests \
             to all sides; {} rounds of {} s, sides in turns",
            options.rounds, options.seconds
        ),
    );

    let keys = fill(&ground).await?;
    let node = Node::prepare(&ground, &keys).await?;
    let ours = Ours::start(&ground, &Settings { metering: ground.metering(), ..Settings::default() }).await?;
    report
        .fact("ours", format!("as `tenantry serve` by default, limits of all plans set and never reached; log: {log}"));
    report
        .fact("node", format!("{}; pools of {} connections a tenant and process", node.versions().await?, node::POOL));
    let mut sides = vec![Side { name: "ours".to_owned(), address: ours.address, changes_only: false }];
    let mut serving = Vec::new();
    report.fact("its variants", variants.iter().map(Variant::facts).collect::<Vec<_>>().join("; "));
    for variant in &variants {
        let server = node.serve(variant, &options.out).await?;
        sides.push(Side { name: variant.name.clone(), address: server.address, changes_only: variant.audited });
        serving.push(server);
    }

    let operations: Vec<Operation> = operations::all().into_iter().filter(|o| options.wants(o.name())).collect();
    ensure!(!operations.is_empty(), "`--operations` names none that there is");
    let mut sizes = Vec::new();
    for operation in &operations {
        let of = agree::check(&sides, *operation, &keys).await?;
        sizes.push(format!("{} {} and {}", operation.name(), of[0], of[1]));
    }
    report.fact("bytes of an answer", format!("ours and node's, with the same members: {}", sizes.join(", ")));
    report.push(Row::higher("bare_commits", commits::rate(&ground, CLIENTS).await?, "1/s"));
    for side in &sides {
        eprintln!("bench: api, {} starts up", side.name);
        Load::new(side.address, Operation::first().calls(CLIENTS, &keys)).lasting(START_UP).run().await?;
    }
    for operation in operations {
        let sides: Vec<&Side> = sides.iter().filter(|side| operation.is_change() || !side.changes_only).collect();
        compare(operation, &sides, &keys, options, &mut report).await?;
    }
    report.fact("connections at the end", connections(&ground).await?);

    for server in serving {
        server.stop().await?;
    }
    ours.stop().await?;
    ground.finish().await?;
    Ok(report)
}

/// All sides in turns, every other round from behind.
async fn compare(
    operation: Operation,
    sides: &[&Side],
    keys: &[SecretString],
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let calls = operation.calls(CLIENTS, keys);
    let load = |side: &Side| Load::new(side.address, calls.clone());
    eprintln!("bench: api, {}, warming up", operation.name());
    for side in sides {
        load(side).lasting(options.seconds * WARM_UP).run().await?;
    }
    let mut answers: Vec<Vec<Answer>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        eprintln!("bench: api, {}, round {round} of {}", operation.name(), options.rounds);
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round.is_multiple_of(2) {
            order.reverse();
        }
        for at in order {
            answers[at].push(load(sides[at]).lasting(options.seconds).run().await?);
        }
    }
    let figures = |at: usize, figure: fn(&Answer) -> f64| answers[at].iter().map(figure).collect::<Vec<_>>();
    let middle = |at: usize, figure: fn(&Answer) -> f64| median(&figures(at, figure));
    let name = operation.name();
    let rates = |at: usize| figures(at, |answer| answer.rate);
    let (ours, node) = (0, 1);
    let both = |row: Row, at: usize, figure: fn(&Answer) -> f64| row.baseline(Some(middle(at, figure)));
    report.push(both(Row::higher(format!("{name}_rate"), middle(ours, |a| a.rate), "1/s"), node, |a| a.rate));
    report.push(both(Row::lower(format!("{name}_p50"), middle(ours, p50_ms), "ms"), node, p50_ms));
    report.push(both(Row::lower(format!("{name}_p99"), middle(ours, p99_ms), "ms"), node, p99_ms));
    let ratio = median_ratio(&rates(ours), &rates(node));
    report.push(Row::higher(format!("{name}_over_node"), ratio, "ratio").goal(GOAL));
    for (at, side) in sides.iter().enumerate().skip(2) {
        report.push(Row::higher(format!("{name}_rate_{}", side.name), middle(at, |a| a.rate), "1/s"));
        let ratio = median_ratio(&rates(ours), &rates(at));
        report.push(Row::higher(format!("{name}_over_{}", side.name), ratio, "ratio"));
    }
    Ok(())
}

fn p50_ms(answer: &Answer) -> f64 {
    answer.p50_us / 1000.0
}

fn p99_ms(answer: &Answer) -> f64 {
    answer.p99_us / 1000.0
}

/// Makes our tenants with their rows.
async fn fill(ground: &Ground) -> anyhow::Result<Vec<SecretString>> {
    eprintln!("bench: {TENANTS} tenants on each side");
    let keys = ground.fill_with_keys(TENANTS).await?;
    let admin = ground.admin().await?;
    for n in 0..TENANTS {
        let slug = slug(n);
        let schema = tenantry_core::SchemaName::for_slug(&slug.parse()?);
        admin.batch_execute(&rows(schema.as_str(), &slug)).await?;
    }
    admin.batch_execute(LIMITS).await?;
    admin.batch_execute("VACUUM ANALYZE").await?;
    Ok(keys)
}

/// The statements that give a tenant of either side its rows.
fn rows(schema: &str, slug: &str) -> String {
    let schema = tenantry_core::quote_identifier(schema);
    include_str!("rows.sql").replace("tenant.", &format!("{schema}.")).replace("{slug}", slug)
}

/// Who has how many connections to the server.
async fn connections(ground: &Ground) -> anyhow::Result<String> {
    let sql = "SELECT CASE datname WHEN 'bench' THEN 'ours' ELSE application_name END AS who, count(*) \
               FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1";
    let rows = ground.admin().await?.query(sql, &[]).await?;
    let counts = rows.iter().map(|row| format!("{} {}", row.get::<_, String>(0), row.get::<_, i64>(1)));
    Ok(counts.collect::<Vec<_>>().join(", "))
}
