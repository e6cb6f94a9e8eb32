//! How prices in the database become those that calls are priced with, on every server.
//!
//! Each server looks once a second whether anything has changed, and then reads all of it. So a change is everywhere after two seconds
//! at the latest, as long as the database can be asked; while it cannot, nothing can be changed in it either. A price that begins
//! at a time to come begins at that time on all servers alike, whenever they have read it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenantry_postgres::{Actor, DbError, MeterDb, MeterTx};
use utoipa::ToSchema;

use super::catalogue::Catalogue;
use super::diff::{Difference, Effect, differences};
use super::file::Flaws;
use super::overrides::Overrides;
use super::table::{Missing, Table};
use super::{PriceQuery, Prices, reprice};
use crate::store::{audit, prices as store};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries of a server that is starting.
const TRY: Duration = Duration::from_millis(100);
/// So many models without a price are remembered, to be told of once each.
const REMEMBERED: usize = 1000;

/// Why the prices of the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The loaded catalogue is not one for this program.
    #[error("the loaded catalogue {id} cannot be read: {flaws}")]
    Catalogue {
        /// Which.
        id: i64,
        /// Why.
        flaws: Flaws,
    },
}

/// Why a catalogue is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not valid.
    #[error("{0}")]
    Invalid(Flaws),
    /// What is loaded now, or the database.
    #[error(transparent)]
    Prices(#[from] PricesError),
}

impl From<DbError> for LoadError {
    fn from(error: DbError) -> Self {
        Self::Prices(error.into())
    }
}

/// A catalogue to be loaded.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The file.
    pub text: String,
    /// Why.
    pub note: String,
    /// Only to see what it would do.
    pub dry_run: bool,
}

/// What loading a catalogue has done, or would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Loaded {
    /// Whether it was only tried.
    pub dry_run: bool,
    /// The number of the loaded catalogue; `null` when it was only tried.
    #[schema(required)]
    pub id: Option<i64>,
    /// SHA-256 of the file.
    pub digest: String,
    /// The models in it.
    pub models: usize,
    /// What it changes of the catalogue that counted before.
    pub differences: Vec<Difference>,
    /// What the calls of the last thirty days would cost. They keep what was recorded.
    pub effect: Effect,
}

impl Prices {
    /// Takes the prices of the database if they are not those that it has; whether it did.
    ///
    /// # Errors
    /// [`PricesError`]; the prices are as they were then.
    pub async fn refresh(&self, db: &MeterDb) -> Result<bool, PricesError> {
        let tx = db.snapshot().await?;
        let mark = store::mark(&tx).await?;
        if **self.inner.mark.load() == Some(mark) {
            tx.rollback().await?;
            return Ok(false);
        }
        let loaded = store::latest(&tx).await?;
        let agreed = store::all_overrides(&tx).await?;
        tx.rollback().await?;
        let catalogue = over_embedded(loaded.as_ref())?;
        self.inner.table.store(Arc::new(Table::new(catalogue, Overrides::new(agreed), true)));
        self.inner.mark.store(Arc::new(Some(mark)));
        self.inner.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// For a server that starts: waits for the prices of the database, and goes on without after `patience`. Calls are unpriced then
    /// until they are there, for nobody knows whether the catalogue in the program is what they cost.
    pub async fn begin(&self, db: &MeterDb, patience: Duration) {
        let tries = async {
            while let Err(error) = self.refresh(db).await {
                tracing::debug!(target: "tenantry::prices", %error, "prices cannot be read yet");
                tokio::time::sleep(TRY).await;
            }
        };
        if tokio::time::timeout(patience, tries).await.is_err() {
            tracing::warn!(target: "tenantry::prices", "prices cannot be read yet: calls are unpriced until they can");
            self.inner.table.store(Arc::new(Table::new(Catalogue::embedded(), Overrides::default(), false)));
        }
    }

    /// Keeps the prices those of the database, for as long as it is polled.
    pub async fn keep_current(&self, db: &MeterDb) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            match self.refresh(db).await {
                Ok(changed) => {
                    if changed {
                        tracing::info!(target: "tenantry::prices", digest = self.digest(), "prices have changed");
                    }
                    told.clear();
                }
                Err(error) => {
                    let text = error.to_string();
                    if told != text {
                        tracing::error!(target: "tenantry::prices", error = text, "prices cannot be read; the last ones count");
                        told = text;
                    }
                }
            }
        }
    }

    /// Loads a catalogue, or tells what loading it would do. The catalogue in the program stays below it, unless it says `replaces`;
    /// one that was loaded before does not.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(
        &self,
        db: &MeterDb,
        request: &LoadRequest,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Loaded, LoadError> {
        let catalogue = Catalogue::parse(&request.text).map_err(LoadError::Invalid)?;
        let tx = db.snapshot().await?;
        let before = over_embedded(store::latest(&tx).await?.as_ref())?;
        let agreed = store::all_overrides(&tx).await?;
        let after = Arc::new(catalogue.over(&Catalogue::embedded()));
        let differences = differences(&before, &after);
        let table = Table::new(after, Overrides::new(agreed), true);
        let effect = reprice::effect(&tx, &table, &differences, now).await?;
        tx.rollback().await?;
        let mut loaded = Loaded {
            dry_run: request.dry_run,
            id: None,
            digest: catalogue.digest().to_owned(),
            models: catalogue.models(),
            differences,
            effect,
        };
        if !request.dry_run {
            let tx = db.begin().await?;
            store::hold_work(&tx).await?;
            match store::latest(&tx).await? {
                Some(same) if same.digest == loaded.digest => {
                    tx.rollback().await?;
                    loaded.id = Some(same.id);
                }
                _ => loaded.id = Some(keep(tx, &loaded, request, actor).await?),
            }
            self.refresh(db).await?;
        }
        Ok(loaded)
    }
}

async fn keep(tx: MeterTx, loaded: &Loaded, request: &LoadRequest, actor: &Actor) -> Result<i64, DbError> {
    let id = store::insert_catalogue(&tx, &loaded.digest, &request.text, &request.note, &actor.name).await?;
    let details = json!({
        "digest": loaded.digest, "note": request.note, "models": loaded.models,
        "changed_models": loaded.differences.len(),
        "effect_usd": (loaded.effect.after_usd - loaded.effect.before_usd).to_string(),
    });
    audit::tell(&tx, None, actor, "prices.load", &format!("price-catalogue/{id}"), &details).await?;
    tx.commit().await?;
    Ok(id)
}

fn over_embedded(loaded: Option<&store::StoredCatalogue>) -> Result<Arc<Catalogue>, PricesError> {
    let embedded = Catalogue::embedded();
    let Some(loaded) = loaded else { return Ok(embedded) };
    let catalogue = Catalogue::parse(&loaded.text);
    let catalogue = catalogue.map_err(|flaws| PricesError::Catalogue { id: loaded.id, flaws })?;
    Ok(Arc::new(catalogue.over(&embedded)))
}

/// Calls without a price: counted, and told of once for each model.
#[derive(Debug, Default)]
pub(super) struct Unpriced {
    total: AtomicU64,
    models: Mutex<HashMap<(String, String), u64>>,
}

impl Unpriced {
    pub(super) fn note(&self, query: &PriceQuery<'_>, missing: Missing) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let key = (query.provider.to_owned(), query.model.to_owned());
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = models.get_mut(&key) {
            *count += 1;
            return;
        }
        if models.len() < REMEMBERED {
            models.insert(key, 1);
        }
        drop(models);
        let (provider, model, tier) = (query.provider, query.model, query.service_tier.unwrap_or_default());
        let at = query.at.to_rfc3339();
        tracing::warn!(target: "tenantry::prices", provider, model, tier, at, reason = ?missing, "a call has no price");
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
