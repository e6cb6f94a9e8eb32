//! `Idempotency-Key` for what is done outside of the database, and may take its time.
//!
//! The work of [`Once`] and its key are one transaction, whose connection nobody else has until it ends. What another server is asked to do
//! must not hold one for so long. So the key is claimed first, by a row without an answer that is committed, and no connection is held
//! until the answer is stored. A repetition that comes between is refused with 409. A server that is killed on the way leaves its claim
//! behind; nobody knows then whether the work was done, and when the claim has lasted for longer than the work can, a repetition does it again.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use tenantry_postgres::{DbError, TenantContext, TenantDb, statements};
use tracing::Instrument as _;

use crate::codes;
use crate::once::{Answer, Early, Idempotency, Kept, Once};
use crate::problem::Problem;

/// How much longer a claim lasts than the work may: for what comes before and after it.
const GRACE: Duration = Duration::from_secs(30);

statements! {
    /// Claims a key: a free one, one that is older than a day, or one whose claim has lasted for too long. No row: somebody has it.
    CLAIM_KEY(BYTEA, BYTEA, FLOAT8) =
        "INSERT INTO tenant.idempotency_keys AS k (id, fingerprint) VALUES ($1, $2) \
         ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL, created_at = now() \
         WHERE k.created_at < now() - interval '1 day' OR (k.status IS NULL AND k.created_at < now() - make_interval(secs => $3)) \
         RETURNING created_at";
    /// Makes a key free again, unless somebody else has claimed it since.
    UNCLAIM_KEY(BYTEA, TIMESTAMPTZ) =
        "DELETE FROM tenant.idempotency_keys WHERE id = $1 AND created_at = $2 AND status IS NULL";
}

/// The right to do, once, what a request asks for. A request without a key has it always.
#[derive(Debug)]
pub struct Claim {
    db: TenantDb,
    context: TenantContext,
    key: Option<(Kept, DateTime<Utc>)>,
}

impl Claim {
    /// Claims the request's key, if it has one, for work that takes no longer than `longest`.
    ///
    /// # Errors
    /// [`Early::Replay`] when the work was done before; a problem when it is under way, when the key came with another request, or from the
    /// database.
    pub async fn take(
        db: &TenantDb,
        context: &TenantContext,
        idempotency: Idempotency,
        longest: Duration,
    ) -> Result<Self, Early> {
        let key = match Kept::of(db, context, &idempotency) {
            Some(kept) => Some(claimed(kept, context, longest).await?),
            None => None,
        };
        Ok(Self { db: db.clone(), context: context.clone(), key })
    }

    /// Opens the transaction in which the answer is stored, with what else is to be written down of the work.
    ///
    /// # Errors
    /// From the database. The claim stays then, as the work is done.
    pub async fn done(self) -> Result<Once, Early> {
        Ok(Once::of(self.db.begin(&self.context).await?, self.key.map(|(kept, _)| kept)))
    }

    /// Stores the answer, or gives the key back for a refusal.
    ///
    /// # Errors
    /// The outcome's, or the database's.
    pub async fn finish<E: Into<Early>>(self, outcome: Result<Answer, E>) -> Result<Response, Early> {
        match outcome {
            Ok(answer) if self.key.is_some() => self.done().await?.finish(Ok::<_, Early>(answer)).await,
            Ok(answer) => Ok(answer.into_response()),
            Err(refusal) => {
                self.give_up().await;
                Err(refusal.into())
            }
        }
    }

    /// Gives the key back: the work was refused, and a repetition may do better.
    pub async fn give_up(self) {
        let Some((kept, since)) = self.key else { return };
        let given = async {
            let mut tx = self.db.single(&self.context).await?;
            tx.execute(&UNCLAIM_KEY, &[&kept.id(), &since]).await
        };
        if let Err(error) = given.await {
            tracing::debug!(%error, "a key is not given back; its claim ends by itself");
        }
    }
}

async fn claimed(kept: Kept, context: &TenantContext, longest: Duration) -> Result<(Kept, DateTime<Utc>), Early> {
    let lasts = (longest + GRACE).as_secs_f64();
    let row = {
        let mut tx = kept.db().single(context).await?;
        tx.query_opt(&CLAIM_KEY, &[&kept.id(), &kept.fingerprint(), &lasts]).await?
    };
    match row {
        Some(row) => Ok((kept, row.try_get("created_at").map_err(DbError::from)?)),
        // Given back since it was asked for: whoever comes again gets it.
        None => Err(kept.answered(context).await.unwrap_or_else(in_progress)),
    }
}

/// The request is being worked on.
pub(crate) fn in_progress() -> Early {
    Problem::of(&codes::REQUEST_IN_PROGRESS).retry_after(Duration::from_secs(1)).into()
}

/// Runs work to its end though its caller leaves: what another server was asked to do is not undone by that.
///
/// # Errors
/// The work's.
pub async fn to_its_end(
    work: impl Future<Output = Result<Response, Early>> + Send + 'static,
) -> Result<Response, Early> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|_| Err(Problem::of(&codes::INTERNAL_ERROR).into()))
}
