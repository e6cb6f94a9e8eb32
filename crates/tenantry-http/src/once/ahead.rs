//! Keys of requests whose work is not the database's, and goes on while that is away.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use tenantry_postgres::{DbError, TenantContext, TenantDb};

use super::{Answer, Early, FORGET_KEYS, Idempotency, KEEP_AHEAD, Kept, Key};
use crate::problem::Problem;

/// How long work that can do without the database waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

impl Idempotency {
    /// Stores the answer under the request's key before the work is done, and gives what is to be answered after it: that answer, or the
    /// one that was stored before.
    ///
    /// Whoever was first, the work must be done each time, for the first may have been killed on the way; so it must be of a kind that has
    /// one effect by itself, such as rows that are [named](Self::name_of_part) by the request. A key whose work was refused is taken all the same.
    /// When the database does not take the key, the work goes on without it: a repetition has its one effect still, and another request
    /// under the key is not noticed.
    ///
    /// # Errors
    /// When the key came with another request, or the tenant is not served any more. Nothing must be done then.
    pub async fn answer_ahead(
        &self,
        db: &TenantDb,
        context: &TenantContext,
        answer: Answer,
    ) -> Result<Response, Problem> {
        let Some(kept) = Kept::of(db, context, self) else { return Ok(answer.into_response()) };
        let error = match tokio::time::timeout(PATIENCE, kept.ahead(context, &answer)).await {
            Ok(Ok(None)) => return Ok(answer.into_response()),
            Ok(Ok(Some(Early::Problem(problem)))) => return Err(problem),
            Ok(Ok(Some(replay))) => return Ok(replay.into_response()),
            Ok(Err(error)) if stands_without_the_key(&error) => return Err(error.into()),
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(target: "tenantry::database", error, "an idempotency key was not taken, the request goes on without it");
        Ok(answer.into_response())
    }

    /// A name for a part of what the request makes, the same whenever the request is repeated and no other request's: for work that must
    /// be known again without asking the database. Who asks is part of it, the key, and method, path and body.
    #[must_use]
    pub fn name_of_part(&self, context: &TenantContext, part: &[u8]) -> Option<[u8; 16]> {
        let Key { key, fingerprint } = self.0.as_ref()?;
        let mut hash = Sha256::new();
        let subject = context.principal().subject();
        for part in [context.id().as_uuid().as_bytes(), subject.as_bytes(), key.as_bytes(), fingerprint, part] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().first_chunk().copied()
    }
}

impl Kept {
    /// Takes the key with its answer, or tells how it was taken before. Each statement is committed by itself.
    async fn ahead(&self, context: &TenantContext, answer: &Answer) -> Result<Option<Early>, DbError> {
        let kept = self.keeps(answer);
        let mut tx = self.db.single(context).await?;
        let taken =
            tx.query_opt(&KEEP_AHEAD, &[&kept.id, &kept.fingerprint, &kept.status, &kept.location, &kept.body]).await?;
        drop(tx);
        if taken.is_none() {
            return self.find(context).await;
        }
        if self.takes_old_ones_along() {
            let mut tx = self.db.single(context).await?;
            tx.execute(&FORGET_KEYS, &[]).await?;
        }
        Ok(None)
    }
}

/// Whether the database has refused the tenant, and not only failed to serve it.
const fn stands_without_the_key(error: &DbError) -> bool {
    matches!(error, DbError::ContextExpired | DbError::SchemaBehind { .. } | DbError::Refused(_) | DbError::Misuse(_))
}
