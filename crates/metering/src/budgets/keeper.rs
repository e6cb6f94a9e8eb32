//! What goes on beside requests: changes of budgets are heard of, leases are refilled before they are empty and given back when nobody uses
//! them, warnings are noticed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use tenantry_core::TenantId;
use tenantry_postgres::DbError;
use tokio::task::JoinSet;

use super::admit::Inner;
use super::notices;
use super::tenant::{Tenant, Wish};
use crate::store::leases::{self, NotResized};

/// How often leases are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often all budgets are looked at for warnings, also those whose calls another server shipped that did not come to it.
const SWEEP: Duration = Duration::from_secs(60);
/// How long the database may take for a resizing.
const ANSWER: Duration = Duration::from_secs(8);

/// Starts what runs as long as the budgets are used.
pub(super) fn spawn(inner: &Arc<Inner>) {
    tokio::spawn(look(Arc::downgrade(inner), Arc::clone(&inner.kick)));
    tokio::spawn(refill(Arc::downgrade(inner), Arc::clone(&inner.low)));
}

async fn look(weak: Weak<Inner>, kick: Arc<tokio::sync::Notify>) {
    let mut place = "0".to_owned();
    let mut looks = JoinSet::new();
    let mut heard = true;
    let (mut looked, mut swept) = (Instant::now(), Instant::now());
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let outcome = hear(&inner, &mut place).await;
        match &outcome {
            Err(error) if heard => {
                tracing::warn!(target: "tenantry::budgets", %error, "changes of budgets cannot be looked for")
            }
            Ok(()) if !heard => tracing::info!(target: "tenantry::budgets", "changes of budgets are heard again"),
            _ => {}
        }
        heard = outcome.is_ok();
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            while looks.try_join_next().is_some() {}
            // The last look is over, or the database is away and another would only wait as well.
            if looks.is_empty() {
                looks.spawn(look_at_leases(Arc::clone(&inner)));
            }
        }
        if heard {
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                inner.all().iter().for_each(|tenant| tenant.state().touch_all(inner.clock.now()));
                let _ = leases::forget(&inner.looking).await;
            }
            if let Err(error) = notices::notice(&inner).await {
                tracing::warn!(target: "tenantry::budgets", %error, "warnings are put off");
            }
        }
        let pause = inner.settings.poll;
        drop(inner);
        // Whichever comes first.
        let _ = tokio::time::timeout(pause, kick.notified()).await;
    }
}

/// Reads what has changed since the last time; at first, everything.
async fn hear(inner: &Arc<Inner>, place: &mut String) -> Result<(), DbError> {
    let first = !*inner.loaded.borrow();
    let (changes, upto) = leases::changes(&inner.looking, place).await?;
    let now = inner.clock.now();
    let mut outdated: HashMap<TenantId, Arc<Tenant>> = HashMap::new();
    {
        let mut tenants = inner.tenants.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            if change.deleted && !tenants.contains_key(&change.tenant) {
                continue;
            }
            let tenant =
                tenants.entry(change.tenant).or_insert_with(|| Arc::new(Tenant::new(change.tenant, change.zone)));
            let tenant = Arc::clone(tenant);
            if tenant.state().change(change.limit, change.deleted, change.zone, now) {
                outdated.insert(tenant.id, tenant);
            } else {
                tenants.remove(&change.tenant);
            }
        }
    }
    if first {
        for found in leases::own(&inner.looking, inner.server).await? {
            if let (Some(tenant), Ok(lasts)) = (inner.tenant(found.tenant), Duration::try_from_secs_f64(found.seconds))
            {
                tenant.state().inherit(found.key, found.amount, Instant::now() + lasts);
            }
        }
        inner.loaded.send_replace(true);
    }
    *place = upto;
    Ok(())
}

async fn look_at_leases(inner: Arc<Inner>) {
    // What an earlier process left counts for as long as it would if this one had not come.
    let over = inner.started.elapsed() > inner.settings.lease;
    for tenant in inner.all() {
        if over {
            tenant.state().recovered();
        }
        if let Err(error) = resize(Arc::clone(&inner), tenant, Wish::Look).await {
            tracing::debug!(target: "tenantry::budgets", %error, "leases were not looked at");
            return;
        }
    }
}

/// Asks for more before it is needed.
async fn refill(weak: Weak<Inner>, low: Arc<tokio::sync::Notify>) {
    loop {
        // Not for ever, so that it is noticed when nobody is left to refill for.
        let _ = tokio::time::timeout(LOOK, low.notified()).await;
        let Some(inner) = weak.upgrade() else { return };
        let lows = std::mem::take(&mut *inner.lows.lock().unwrap_or_else(PoisonError::into_inner));
        let mut refills = JoinSet::new();
        for (id, keys) in lows {
            if let Some(tenant) = inner.tenant(id) {
                refills.spawn(resize(Arc::clone(&inner), tenant, Wish::More(keys.into_iter().collect())));
            }
        }
        // A call that finds nothing left asks itself, and tells.
        while refills.join_next().await.is_some() {}
    }
}

/// Resizes leases of a tenant as they are to be, one resizing at a time.
pub(super) async fn resize(inner: Arc<Inner>, tenant: Arc<Tenant>, wish: Wish) -> Result<(), DbError> {
    let _alone = tenant.resizing.lock().await;
    let at = Instant::now();
    let settings = &inner.settings;
    let quiet = inner.quiet();
    let asked = tenant.state().asks(&wish, at, settings.lease / 2, settings.slice_percent);
    if asked.is_empty() {
        return Ok(());
    }
    let seconds = settings.lease.as_secs_f64();
    let resizing = leases::resize(&inner.leasing, inner.server, tenant.id, seconds, &asked);
    let outcome = match tokio::time::timeout(ANSWER, resizing).await {
        Ok(outcome) => outcome,
        Err(_) => Err(NotResized::Unknown(DbError::Unavailable(format!("no answer within {ANSWER:?}")))),
    };
    let mut state = tenant.state();
    match outcome {
        Ok(resized) => {
            let quiet = quiet.is_some() && inner.quiet() == quiet;
            state.answered(&asked, &resized, at, settings.lease, quiet);
            Ok(())
        }
        Err(NotResized::Undone(error)) => {
            state.unanswered(&asked, false);
            Err(error)
        }
        Err(NotResized::Unknown(error)) => {
            state.unanswered(&asked, true);
            Err(error)
        }
    }
}
