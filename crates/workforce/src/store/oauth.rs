//! The table `oauth_transactions`: authorizations under way.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tenantry_postgres::{TenantTx, statements};
use uuid::Uuid;

use super::column;
use crate::account::StartAuthorization;
use crate::{Error, ProviderAccountId, Valid};

statements! {
    /// An authorization that begins. It is good for ten minutes.
    BEGIN_AUTHORIZATION(UUID, TEXT, TEXT, TEXT, BYTEA, JSONB) =
        "INSERT INTO tenant.oauth_transactions (id, provider, owner_key, state, encrypted_pkce_verifier, flow_data, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, now() + interval '10 minutes') RETURNING expires_at";
    /// Removes those that nobody has answered.
    FORGET_AUTHORIZATIONS() = "DELETE FROM tenant.oauth_transactions WHERE expires_at < now()";
    /// Spends one: it is gone afterwards, whatever becomes of the answer.
    SPEND_AUTHORIZATION(TEXT) =
        "DELETE FROM tenant.oauth_transactions WHERE state = $1 \
         RETURNING id, provider, owner_key, encrypted_pkce_verifier, flow_data, expires_at > now() AS live";
}

/// What is kept of an authorization that begins. Of the state only its digest.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) id: Uuid,
    pub(crate) digest: String,
    pub(crate) verifier: Vec<u8>,
    pub(crate) scopes: Vec<String>,
}

/// What was kept of it.
#[derive(Debug)]
pub(crate) struct Spent {
    pub(crate) id: Uuid,
    pub(crate) provider: String,
    pub(crate) owner_key: Option<String>,
    pub(crate) verifier: Vec<u8>,
    pub(crate) scopes: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) account: Option<ProviderAccountId>,
    pub(crate) started_by: String,
}

pub(crate) async fn begin(
    tx: &mut TenantTx,
    begun: &Begun,
    new: &Valid<StartAuthorization>,
) -> Result<DateTime<Utc>, Error> {
    tx.execute(&FORGET_AUTHORIZATIONS, &[]).await?;
    let flow = json!({
        "name": new.name, "scopes": begun.scopes, "provider_account_id": new.provider_account_id,
        "started_by": tx.context().actor().name,
    });
    let row = tx
        .query_one(
            &BEGIN_AUTHORIZATION,
            &[&begun.id, &new.provider, &new.owner_key, &begun.digest, &begun.verifier, &flow],
        )
        .await?;
    let target = format!("oauth_transaction/{}", begun.id);
    tx.audit("provider_account.authorize", &target, json!({ "provider": new.provider }));
    Ok(column!(row, "expires_at"))
}

/// The authorization with this digest, which is then spent; none when it is not there, or is too old.
pub(crate) async fn spend(tx: &mut TenantTx, digest: &str) -> Result<Option<Spent>, Error> {
    let Some(row) = tx.query_opt(&SPEND_AUTHORIZATION, &[&digest]).await? else { return Ok(None) };
    let live: bool = column!(row, "live");
    if !live {
        return Ok(None);
    }
    let flow: Value = column!(row, "flow_data");
    let text = |name: &str| flow[name].as_str().map(str::to_owned);
    let verifier: Option<Vec<u8>> = column!(row, "encrypted_pkce_verifier");
    let scopes = flow["scopes"].as_array().into_iter().flatten().filter_map(|scope| scope.as_str().map(str::to_owned));
    Ok(Some(Spent {
        id: column!(row, "id"),
        provider: column!(row, "provider"),
        owner_key: column!(row, "owner_key"),
        verifier: verifier.unwrap_or_default(),
        scopes: scopes.collect(),
        name: text("name"),
        account: text("provider_account_id").and_then(|id| id.parse().ok()),
        started_by: text("started_by").unwrap_or_default(),
    }))
}
