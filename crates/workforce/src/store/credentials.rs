//! The table `credential_proxies`.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use tenantry_http::Limit;
use tenantry_postgres::{DbError, Row, TenantContext, TenantTx, statements};
use tenantry_secrets::Secrets;
use uuid::Uuid;

use super::{column, sealed};
use crate::credential::{CreateCredential, Credential, Injection, UpdateCredential, UseCredential};
use crate::keychain::KeychainError;
use crate::page::{List, Page, Position};
use crate::{AgentId, CredentialId, Error, Kind, Valid, WriteOnly};

macro_rules! columns {
    () => {
        "id, name, service, injection, allowed_agents, version, created_at, updated_at, rotated_at"
    };
}

statements! {
    /// One credential by name.
    FIND_CREDENTIAL(TEXT) = concat!("SELECT ", columns!(), " FROM tenant.credential_proxies WHERE name = $1");
    /// A page of credentials.
    LIST_CREDENTIALS(TEXT, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.credential_proxies \
         WHERE ($1::text IS NULL OR service = $1) \
           AND (created_at, id) < (COALESCE($2, 'infinity'::timestamptz), \
                                   COALESCE($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    /// A new credential.
    INSERT_CREDENTIAL(UUID, TEXT, TEXT, BYTEA, JSONB, JSONB) = concat!(
        "INSERT INTO tenant.credential_proxies (id, name, service, encrypted_value, injection, allowed_agents) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING ", columns!()
    );
    /// Changes what is not NULL.
    UPDATE_CREDENTIAL(UUID, INT8, TEXT, BYTEA, JSONB, JSONB) = concat!(
        "UPDATE tenant.credential_proxies SET \
           service = COALESCE($3, service), \
           encrypted_value = COALESCE($4, encrypted_value), \
           rotated_at = CASE WHEN $4 IS NULL THEN rotated_at ELSE now() END, \
           injection = COALESCE($5, injection), \
           allowed_agents = COALESCE($6, allowed_agents), \
           version = version + 1, updated_at = now() \
         WHERE id = $1 AND version = $2 RETURNING ", columns!()
    );
    /// Removes a credential.
    DELETE_CREDENTIAL(TEXT, INT8) = concat!(
        "DELETE FROM tenant.credential_proxies WHERE name = $1 AND ($2::int8 IS NULL OR version = $2) RETURNING ", columns!()
    );
    /// Which of these agents are live, held so until the commit.
    LOCK_ALLOWED_AGENTS(UUID_ARRAY) =
        "SELECT id FROM tenant.agents WHERE id = ANY ($1) AND deleted_at IS NULL ORDER BY id FOR SHARE";
    /// A credential to be used, and whether the agent is live.
    CREDENTIAL_FOR_USE(TEXT, UUID) =
        "SELECT c.id, c.service, c.injection, c.encrypted_value, c.allowed_agents, \
           EXISTS (SELECT FROM tenant.agents a WHERE a.id = $2 AND a.deleted_at IS NULL) AS live \
         FROM tenant.credential_proxies c WHERE c.name = $1";
}

/// A value sealed before a connection is taken.
#[derive(Debug)]
pub struct SealedValue {
    id: Uuid,
    value: Vec<u8>,
}

/// Seals the value of a credential that is being made.
///
/// # Errors
/// [`Error::Secrets`].
pub async fn seal(secrets: &Secrets, context: &TenantContext, value: &WriteOnly) -> Result<SealedValue, Error> {
    let id = *CredentialId::generate().as_uuid();
    Ok(SealedValue { id, value: secrets.seal(context, sealed::credential(id), value.secret()).await? })
}

/// Inserts a credential.
///
/// # Errors
/// [`KeychainError::NameTaken`], [`Error::UnknownAgent`].
pub async fn create(
    tx: &mut TenantTx,
    new: &Valid<CreateCredential>,
    sealed: &SealedValue,
) -> Result<Credential, Error> {
    hold_live(tx, &new.allowed_agents).await?;
    let row = tx
        .query_one(
            &INSERT_CREDENTIAL,
            &[
                &sealed.id,
                &new.name,
                &new.service.to_ascii_lowercase(),
                &sealed.value,
                &json!(new.injection),
                &json!(new.allowed_agents),
            ],
        )
        .await
        .map_err(|e| match e.constraint() {
            Some("credential_proxies_name") => KeychainError::NameTaken(new.name.clone()).into(),
            _ => Error::from(e),
        })?;
    let credential = read(&row)?;
    note(
        tx,
        "create",
        "credential.created",
        &credential,
        json!({ "name": credential.name, "service": credential.service }),
    );
    Ok(credential)
}

/// Finds a credential; one statement.
///
/// # Errors
/// [`Error::UnknownCredential`].
pub async fn find(tx: &mut TenantTx, name: &str) -> Result<Credential, Error> {
    let row = tx.query_opt(&FIND_CREDENTIAL, &[&name]).await?;
    read(&row.ok_or_else(|| unknown(name))?)
}

/// A page of credentials, newest first; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    service: Option<&str>,
    after: Option<Position>,
    limit: Limit,
) -> Result<Page<Credential>, Error> {
    let rows = tx
        .query(&LIST_CREDENTIALS, &[&service, &after.map(|p| p.created_at), &after.map(|p| p.id), &limit.probe()])
        .await?;
    let credentials = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let position = |c: &Credential| Position { created_at: c.created_at, id: *c.id.as_uuid() };
    Ok(Page::cut(credentials, limit, List::Credentials, position))
}

/// Changes a credential that still has the version `expected`. A new value is sealed here: its place is the row's id.
///
/// # Errors
/// [`Error::UnknownCredential`], [`Error::VersionConflict`], [`Error::UnknownAgent`].
pub async fn update(
    tx: &mut TenantTx,
    secrets: &Secrets,
    name: &str,
    expected: i64,
    change: &Valid<UpdateCredential>,
) -> Result<Credential, Error> {
    let present = find(tx, name).await?;
    if let Some(agents) = change.allowed_agents.value() {
        hold_live(tx, agents).await?;
    }
    let value = match change.value.value() {
        Some(value) => {
            let context = tx.context().clone();
            let place = sealed::credential(*present.id.as_uuid());
            Some(secrets.seal(&context, place, value.secret()).await?)
        }
        None => None,
    };
    let agents =
        change.allowed_agents.is_named().then(|| json!(change.allowed_agents.value().cloned().unwrap_or_default()));
    let service = change.service.value().map(|service| service.to_ascii_lowercase());
    let injection = change.injection.value().map(|injection| json!(injection));
    let row = tx
        .query_opt(&UPDATE_CREDENTIAL, &[present.id.as_uuid(), &expected, &service, &value, &injection, &agents])
        .await?;
    let Some(row) = row else { return Err(why_unchanged(tx, name, Some(expected)).await) };
    let credential = read(&row)?;
    note(tx, "update", "credential.updated", &credential, json!({ "name": name, "changed": change.named() }));
    Ok(credential)
}

/// Removes a credential with its value.
///
/// # Errors
/// [`Error::UnknownCredential`]; with `expected` also [`Error::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, name: &str, expected: Option<i64>) -> Result<(), Error> {
    let row = tx.query_opt(&DELETE_CREDENTIAL, &[&name, &expected]).await?;
    let Some(row) = row else { return Err(why_unchanged(tx, name, expected).await) };
    let credential = read(&row)?;
    note(tx, "delete", "credential.deleted", &credential, json!({ "name": name }));
    Ok(())
}

/// A credential that an agent may use now.
#[derive(Debug)]
pub(crate) struct Usable {
    pub(crate) id: Uuid,
    pub(crate) service: String,
    pub(crate) injection: Injection,
    pub(crate) value: SecretString,
}

/// Opens a credential for an agent; one statement.
///
/// # Errors
/// [`Error::UnknownCredential`], [`KeychainError::AgentNotAllowed`], also for an agent that is not there.
pub(crate) async fn open(tx: &mut TenantTx, secrets: &Secrets, name: &str, agent: AgentId) -> Result<Usable, Error> {
    let row = tx.query_opt(&CREDENTIAL_FOR_USE, &[&name, agent.as_uuid()]).await?;
    let row = row.ok_or_else(|| unknown(name))?;
    let id: Uuid = column!(row, "id");
    let live: bool = column!(row, "live");
    let allowed: Vec<AgentId> = json_column(&row, id, "allowed_agents")?;
    if !live || !allowed.contains(&agent) {
        return Err(KeychainError::AgentNotAllowed(name.to_owned()).into());
    }
    let value: Vec<u8> = column!(row, "encrypted_value");
    let context = tx.context().clone();
    Ok(Usable {
        id,
        service: column!(row, "service"),
        injection: json_column(&row, id, "injection")?,
        value: secrets.open(&context, sealed::credential(id), &value).await?,
    })
}

/// Notes a use in the audit trail: who asked for what, where, and what came of it. Neither query nor body, which may hold anything.
pub(crate) fn note_use(tx: &mut TenantTx, name: &str, usable: &Usable, request: &UseCredential, outcome: &str) {
    let path = request.path.split('?').next().unwrap_or_default();
    let details = json!({
        "name": name, "agent_id": request.agent_id, "service": usable.service, "method": request.method, "path": path,
        "outcome": outcome,
    });
    tx.audit("credential.use", &format!("credential/{}", usable.id), details);
}

async fn hold_live(tx: &mut TenantTx, agents: &[AgentId]) -> Result<(), Error> {
    if agents.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = agents.iter().map(|agent| *agent.as_uuid()).collect();
    let rows = tx.query(&LOCK_ALLOWED_AGENTS, &[&ids]).await?;
    let live: Vec<Uuid> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>().map_err(DbError::from)?;
    match ids.iter().find(|id| !live.contains(id)) {
        Some(id) => Err(Error::UnknownAgent { pointer: "/allowed_agents", id: *id }),
        None => Ok(()),
    }
}

fn note(tx: &mut TenantTx, what: &str, kind: &'static str, credential: &Credential, details: Value) {
    tx.audit(&format!("credential.{what}"), &format!("credential/{}", credential.id), details);
    tx.publish(kind, json!(credential));
}

/// A change that met no row: is the credential gone, or has it another version?
async fn why_unchanged(tx: &mut TenantTx, name: &str, expected: Option<i64>) -> Error {
    match (find(tx, name).await, expected) {
        (Ok(credential), Some(expected)) => Error::VersionConflict {
            kind: Kind::Credential,
            expected,
            actual: credential.version,
            current: Box::new(json!(credential)),
        },
        (Ok(_), None) => unknown(name),
        (Err(error), _) => error,
    }
}

/// What cannot be a credential's name is none, and is not asked for.
///
/// # Errors
/// [`Error::UnknownCredential`].
pub fn check_name(name: &str) -> Result<(), Error> {
    let fine = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-'));
    if fine { Ok(()) } else { Err(unknown(name)) }
}

fn unknown(name: &str) -> Error {
    Error::UnknownCredential(name.chars().take(64).collect())
}

fn json_column<T: serde::de::DeserializeOwned>(row: &Row, id: Uuid, column: &'static str) -> Result<T, Error> {
    let value: Value = row.try_get(column).map_err(DbError::from)?;
    serde_json::from_value(value).map_err(|e| Error::Corrupt {
        kind: Kind::Credential,
        id,
        column,
        reason: e.to_string(),
    })
}

fn read(row: &Row) -> Result<Credential, Error> {
    let id: Uuid = column!(row, "id");
    let rotated_at: Option<DateTime<Utc>> = column!(row, "rotated_at");
    Ok(Credential {
        id: CredentialId::from_uuid(id),
        name: column!(row, "name"),
        service: column!(row, "service"),
        injection: json_column(row, id, "injection")?,
        allowed_agents: json_column(row, id, "allowed_agents")?,
        version: column!(row, "version"),
        created_at: column!(row, "created_at"),
        updated_at: column!(row, "updated_at"),
        rotated_at,
    })
}
