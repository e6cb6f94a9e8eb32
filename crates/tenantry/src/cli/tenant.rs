//! `tenantry tenant …`.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tenantry::Settings;
use tenantry_core::{Slug, TenantStatus};
use tenantry_postgres::{Actor, NewTenant, ProvisionError, Provisioner, TenantFilter, TenantRow};

use super::key::NewKey;
use super::output::{self, optional, time};
pub(super) use super::tenant_args::TenantCommand;
use super::tenant_args::{CreateArgs, ListArgs, PurgeArgs, UpdateArgs, Warm};
use super::{CliError, Global, import, say};

/// Tenants read at once.
const PAGE: i64 = 1000;

pub(super) async fn run(command: TenantCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let provisioner = global.provisioner(settings)?;
    let actor = Actor::cli();
    let grace = TimeDelta::days(settings.grace_days.into());
    let tenant = match command {
        TenantCommand::Create(args) => return create(args, global, &provisioner, &actor).await,
        TenantCommand::List(args) => return list(args, global, &provisioner).await,
        TenantCommand::Purge(args) => return purge(args, global, &provisioner, &actor, grace).await,
        TenantCommand::Import(args) => return import::run(args, global.output, &provisioner, &actor).await,
        TenantCommand::Warm { wanted } => return warm(wanted, global, &provisioner).await,
        TenantCommand::Update(args) => update(args, &provisioner, &actor).await?,
        TenantCommand::Show(named) => provisioner.show(&named.slug).await?,
        TenantCommand::Suspend(named) => provisioner.suspend(&named.slug, &actor).await?,
        TenantCommand::Resume(named) => provisioner.resume(&named.slug, &actor).await?,
        TenantCommand::Restore(named) => provisioner.restore(&named.slug, &actor).await?,
        TenantCommand::Delete(ended) => {
            // an unknown tenant is reported before anybody is asked
            provisioner.show(&ended.slug).await?;
            ended.confirm.word(&format!("`{}` will be refused, and its data purged later", ended.slug), &ended.slug)?;
            let outcome = provisioner.delete(&ended.slug, grace, &actor).await?;
            say(format!("it can be restored, and is not purged, until {}", time(outcome.purge_after)));
            outcome.tenant
        }
    };
    output::record(global.output, &tenant, &lines(&tenant))
}

#[derive(Debug, Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    tenant: &'a TenantRow,
    key: NewKey<'a>,
}

async fn create(args: CreateArgs, global: &Global, provisioner: &Provisioner, actor: &Actor) -> Result<(), CliError> {
    let slug: Slug = args.slug.parse()?;
    let new = NewTenant {
        slug,
        admin_email: args.admin_email,
        plan_tier: args.plan,
        allowed_domains: args.domains,
        dedicated: args.dedicated,
    };
    let created = provisioner.create(&new, actor).await?;
    let token = created.key.token.expose_secret();
    let mut lines = lines(&created.tenant);
    lines.push(("API key", token.to_owned()));
    let record = Created { tenant: &created.tenant, key: NewKey { key: &created.key.info, token } };
    output::record(global.output, &record, &lines)?;
    say("the key is shown once; `tenantry key create` makes further ones");
    Ok(())
}

async fn list(args: ListArgs, global: &Global, provisioner: &Provisioner) -> Result<(), CliError> {
    let mut filter = TenantFilter {
        status: args.status.map(Into::into),
        plan_tier: args.plan,
        prefix: args.prefix,
        after: None,
        limit: PAGE,
    };
    let tenants = all(provisioner, &mut filter, args.limit.map(i64::from)).await?;
    output::list(global.output, &tenants, &["slug", "status", "plan", "cell", "version", "created", "id"], |t| {
        vec![
            t.slug.to_string(),
            t.status.to_string(),
            t.plan_tier.clone(),
            format!("{}/{}", t.shard, t.cell),
            t.schema_version.to_string(),
            time(t.created_at),
            t.id.to_string(),
        ]
    })
}

/// Every tenant of a filter, page by page, or the first `limit`.
pub(super) async fn all(
    provisioner: &Provisioner,
    filter: &mut TenantFilter,
    limit: Option<i64>,
) -> Result<Vec<TenantRow>, ProvisionError> {
    let mut tenants: Vec<TenantRow> = Vec::new();
    loop {
        let have = i64::try_from(tenants.len()).unwrap_or(i64::MAX);
        filter.limit = limit.map_or(PAGE, |limit| PAGE.min(limit - have));
        if filter.limit <= 0 {
            return Ok(tenants);
        }
        let page = provisioner.list(filter).await?;
        let full = i64::try_from(page.len()).unwrap_or(i64::MAX) == filter.limit;
        filter.after = page.last().map(|tenant| tenant.slug.to_string());
        tenants.extend(page);
        if !full {
            return Ok(tenants);
        }
    }
}

async fn warm(wanted: Warm, global: &Global, provisioner: &Provisioner) -> Result<(), CliError> {
    if let Warm::Number(wanted) = wanted {
        let target = usize::from(wanted);
        let refilled = provisioner.refill(target, Duration::ZERO).await?;
        let reduced = provisioner.reduce(target).await?;
        say(format!("made {}, removed {}", refilled.made, refilled.removed + reduced));
    }
    let status = provisioner.warm_status().await?;
    let lines = [
        ("ready", status.ready.to_string()),
        ("of an older version", status.behind.to_string()),
        ("version of new tenants", status.version.to_string()),
    ];
    output::record(global.output, &status, &lines)
}

async fn update(args: UpdateArgs, provisioner: &Provisioner, actor: &Actor) -> Result<TenantRow, CliError> {
    let slug = args.slug.clone();
    let patch = args.patch().ok_or_else(|| {
        CliError::usage("nothing to change").hint("`tenantry tenant update --help` lists what can be changed")
    })?;
    Ok(provisioner.update(&slug, &patch, actor).await?)
}

async fn purge(
    args: PurgeArgs,
    global: &Global,
    provisioner: &Provisioner,
    actor: &Actor,
    grace: TimeDelta,
) -> Result<(), CliError> {
    let Some(slug) = args.slug else { return purge_expired(args, global, provisioner, actor, grace).await };
    let tenant = provisioner.show(&slug).await?;
    let grace = if args.ignore_grace { TimeDelta::zero() } else { grace };
    args.confirm.word(&format!("all data of `{slug}` ({}) will be removed for good", tenant.id), &slug)?;
    let purged = provisioner.purge(&slug, grace, actor).await?;
    say(format!("`{slug}` is purged"));
    output::record(global.output, &purged, &lines(&purged))
}

async fn purge_expired(
    args: PurgeArgs,
    global: &Global,
    provisioner: &Provisioner,
    actor: &Actor,
    grace: TimeDelta,
) -> Result<(), CliError> {
    let mut filter = TenantFilter { status: Some(TenantStatus::Deleted), ..TenantFilter::default() };
    let mut tenants = all(provisioner, &mut filter, None).await?;
    tenants.retain(|t| t.deleted_at.is_some_and(|at| at + grace <= Utc::now()));
    if !tenants.is_empty() {
        let question = format!("all data of {} tenants will be removed for good", tenants.len());
        args.confirm.word(&question, "purge")?;
    }
    let mut purged = Vec::with_capacity(tenants.len());
    let mut failed = Vec::new();
    for (done, tenant) in tenants.iter().enumerate() {
        // One that cannot be purged keeps no other.
        match provisioner.purge(tenant.slug.as_str(), grace, actor).await {
            Ok(tenant) => {
                say(format!("purged `{}` ({} of {})", tenant.slug, done + 1, tenants.len()));
                purged.push(tenant);
            }
            Err(error) => {
                say(format!("cannot purge `{}` ({} of {}): {error}", tenant.slug, done + 1, tenants.len()));
                failed.push(format!("`{}`", tenant.slug));
            }
        }
    }
    output::list(global.output, &purged, &["slug", "id", "deleted"], |t| {
        vec![t.slug.to_string(), t.id.to_string(), optional(t.deleted_at.map(time))]
    })?;
    match (failed.is_empty(), purged.is_empty()) {
        (true, _) => Ok(()),
        (false, false) => Err(CliError::some_failed(format!("not purged: {}", failed.join(", ")))),
        (false, true) => Err(CliError::not_run(format!("none was purged: {}", failed.join(", ")))),
    }
}

fn lines(tenant: &TenantRow) -> Vec<(&'static str, String)> {
    let own = |limit: Option<i32>| limit.map_or_else(|| "plan".to_owned(), |limit| limit.to_string());
    let mut lines = vec![
        ("slug", tenant.slug.to_string()),
        ("id", tenant.id.to_string()),
        ("status", tenant.status.to_string()),
        ("plan", tenant.plan_tier.clone()),
        ("admin e-mail", tenant.admin_email.clone()),
        ("schema", format!("{} (version {})", tenant.schema_name, tenant.schema_version)),
        ("placement", format!("shard {}, cell {}, generation {}", tenant.shard, tenant.cell, tenant.generation)),
        ("max agents", own(tenant.max_agents)),
        ("max tasks a month", own(tenant.max_tasks_per_month)),
        ("storage GiB", own(tenant.storage_limit_gb)),
        ("created", time(tenant.created_at)),
        ("updated", time(tenant.updated_at)),
    ];
    if !tenant.allowed_domains.is_empty() {
        lines.push(("domains", tenant.allowed_domains.join(" ")));
    }
    if let Some(at) = tenant.deleted_at {
        lines.push(("deleted", time(at)));
    }
    lines
}
