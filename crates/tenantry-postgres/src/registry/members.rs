//! The members of a tenant. A tenant's own people reach them by their context only.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenantry_core::{MemberId, Role, TenantId};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::{Actor, Registry, TenantContext};
use crate::clients::{Lent, typed};
use crate::error::{DbError, ProvisionError};
use crate::once::{self, OnceRequest};
use crate::provision::{Provisioner, audit, by_slug};

const COLUMNS: &str = "id, subject, email, role, version, created_at, updated_at";
const MAX_SUBJECT: usize = 255;

/// Somebody who may act for a tenant with a token of the identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Id.
    pub id: MemberId,
    /// What the identity provider calls them: `sub` of their tokens.
    pub subject: String,
    /// How to reach them.
    pub email: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Counts changes, from 1.
    pub version: i64,
    /// Added.
    pub created_at: DateTime<Utc>,
    /// Last changed.
    pub updated_at: DateTime<Utc>,
}

/// A member to be added.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// `sub` of their tokens.
    pub subject: String,
    /// How to reach them.
    pub email: Option<String>,
    /// What they may do.
    pub role: Role,
}

/// Which members to list.
#[derive(Debug, Clone, Default)]
pub struct MemberFilter {
    /// Only with this role.
    pub role: Option<Role>,
    /// Only with this subject.
    pub subject: Option<String>,
    /// Only those added before this one.
    pub after: Option<MemberId>,
    /// At most so many.
    pub limit: i64,
}

/// A change of a member; `None` keeps, `Some(None)` forgets.
#[derive(Debug, Clone, Default)]
pub struct MemberPatch {
    /// What they may do.
    pub role: Option<Role>,
    /// How to reach them.
    pub email: Option<Option<String>>,
}

/// Who changes members, and how far that may go.
struct By<'a> {
    tenant: TenantId,
    /// Nobody above this role is made, changed or removed.
    highest: Option<Role>,
    actor: &'a Actor,
}

impl By<'_> {
    fn may(&self, role: Role, what: &str) -> Result<(), ProvisionError> {
        if self.highest.is_some_and(|highest| role <= highest) {
            return Ok(());
        }
        let yours =
            self.highest.map_or_else(|| "yours gives none".to_owned(), |highest| format!("yours reaches `{highest}`"));
        Err(ProvisionError::BeyondCaller(format!(
            "{what} with the role `{role}` needs a credential that has all of it; {yours}"
        )))
    }
}

fn member(row: &Row) -> Result<Member, DbError> {
    let role = row.get::<_, &str>("role").parse().map_err(|_| DbError::Misuse("the registry holds an unknown role"))?;
    Ok(Member {
        id: MemberId::from_uuid(row.get("id")),
        subject: row.get("subject"),
        email: row.get("email"),
        role,
        version: row.get("version"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}

impl Registry {
    /// Members of the context's tenant, the latest first: ids are ordered by time.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn members(&self, context: &TenantContext, filter: &MemberFilter) -> Result<Vec<Member>, ProvisionError> {
        self.still_served(context).await?;
        let client = self.inner.clients.get().await?;
        let members = list(&client, context.id(), filter).await?;
        client.give_back();
        Ok(members)
    }

    /// One member of the context's tenant.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownMember`], [`ProvisionError::Database`].
    pub async fn member(&self, context: &TenantContext, id: MemberId) -> Result<Member, ProvisionError> {
        self.still_served(context).await?;
        let client = self.inner.clients.get().await?;
        let found = by_id(&client, context.id(), id).await?;
        client.give_back();
        found.ok_or_else(|| ProvisionError::UnknownMember(id.to_string()))
    }

    /// Adds a member to the context's tenant, with a role that is not above `highest`.
    ///
    /// # Errors
    /// [`ProvisionError::MemberTaken`], [`ProvisionError::BeyondCaller`], [`ProvisionError::Invalid`], [`ProvisionError::KeyReused`],
    /// [`ProvisionError::Database`].
    pub async fn add_member(
        &self,
        context: &TenantContext,
        highest: Option<Role>,
        new: &NewMember,
        once: Option<&OnceRequest>,
    ) -> Result<Member, ProvisionError> {
        self.still_served(context).await?;
        let actor = context.actor();
        let client = self.inner.clients.get().await?;
        add(client, &By { tenant: context.id(), highest, actor: &actor }, new, once).await
    }

    /// Changes a member of the context's tenant, who is not above `highest` before or after.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownMember`], [`ProvisionError::MemberChanged`], [`ProvisionError::LastOwner`],
    /// [`ProvisionError::BeyondCaller`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn change_member(
        &self,
        context: &TenantContext,
        highest: Option<Role>,
        id: MemberId,
        expected: i64,
        patch: &MemberPatch,
    ) -> Result<Member, ProvisionError> {
        self.still_served(context).await?;
        let actor = context.actor();
        let client = self.inner.clients.get().await?;
        change(client, &By { tenant: context.id(), highest, actor: &actor }, id, Some(expected), patch).await
    }

    /// Removes a member of the context's tenant, who is not above `highest`. Their tokens are refused, or have what unlisted ones
    /// have, within a second.
    ///
    /// # Errors
    /// As [`change_member`](Self::change_member).
    pub async fn remove_member(
        &self,
        context: &TenantContext,
        highest: Option<Role>,
        id: MemberId,
        expected: Option<i64>,
    ) -> Result<Member, ProvisionError> {
        self.still_served(context).await?;
        let actor = context.actor();
        let client = self.inner.clients.get().await?;
        remove(client, &By { tenant: context.id(), highest, actor: &actor }, id, expected).await
    }
}

/// The same for operators, by a tenant's slug.
impl Provisioner {
    /// Members of a tenant, the latest first.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn members(&self, slug: &str, filter: &MemberFilter) -> Result<Vec<Member>, ProvisionError> {
        let client = self.control().get().await?;
        let tenant = by_slug(&client, slug).await?;
        let members = list(&client, tenant.id, filter).await?;
        client.give_back();
        Ok(members)
    }

    /// Adds a member.
    ///
    /// # Errors
    /// As [`Registry::add_member`], and [`ProvisionError::NotFound`].
    pub async fn add_member(&self, slug: &str, new: &NewMember, actor: &Actor) -> Result<Member, ProvisionError> {
        let client = self.control().get().await?;
        let tenant = by_slug(&client, slug).await?.id;
        add(client, &By { tenant, highest: Some(Role::Owner), actor }, new, None).await
    }

    /// Changes a member.
    ///
    /// # Errors
    /// As [`Registry::change_member`], and [`ProvisionError::NotFound`].
    pub async fn change_member(
        &self,
        slug: &str,
        id: MemberId,
        patch: &MemberPatch,
        actor: &Actor,
    ) -> Result<Member, ProvisionError> {
        let client = self.control().get().await?;
        let tenant = by_slug(&client, slug).await?.id;
        change(client, &By { tenant, highest: Some(Role::Owner), actor }, id, None, patch).await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// As [`Registry::remove_member`], and [`ProvisionError::NotFound`].
    pub async fn remove_member(&self, slug: &str, id: MemberId, actor: &Actor) -> Result<Member, ProvisionError> {
        let client = self.control().get().await?;
        let tenant = by_slug(&client, slug).await?.id;
        remove(client, &By { tenant, highest: Some(Role::Owner), actor }, id, None).await
    }
}

async fn list(client: &Client, tenant: TenantId, filter: &MemberFilter) -> Result<Vec<Member>, DbError> {
    let role = filter.role.map(Role::as_str);
    let after = filter.after.map(|id| *id.as_uuid());
    let params: [(&(dyn ToSql + Sync), Type); 5] = [
        typed(tenant.as_uuid(), Type::UUID),
        typed(&role, Type::TEXT),
        typed(&filter.subject, Type::TEXT),
        typed(&after, Type::UUID),
        typed(&filter.limit, Type::INT8),
    ];
    let sql = format!(
        "SELECT {COLUMNS} FROM public.tenant_members WHERE tenant_id = $1 AND ($2::text IS NULL OR role = $2) \
         AND ($3::text IS NULL OR subject = $3) AND ($4::uuid IS NULL OR id < $4) ORDER BY id DESC LIMIT $5"
    );
    client.query_typed(&sql, &params).await?.iter().map(member).collect()
}

async fn by_id(client: &Client, tenant: TenantId, id: MemberId) -> Result<Option<Member>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM public.tenant_members WHERE id = $1 AND tenant_id = $2");
    let params = [typed(id.as_uuid(), Type::UUID), typed(tenant.as_uuid(), Type::UUID)];
    client.query_typed(&sql, &params).await?.first().map(member).transpose()
}

async fn add(client: Lent, by: &By<'_>, new: &NewMember, once: Option<&OnceRequest>) -> Result<Member, ProvisionError> {
    check_subject(&new.subject)?;
    check_email(new.email.as_deref())?;
    if let Some(done) = once::start(&client, once::BEGIN, once).await? {
        client.give_back();
        return Ok(done);
    }
    by.may(new.role, "adding a member")?;
    let id = MemberId::generate();
    let sql = format!(
        "INSERT INTO public.tenant_members (id, tenant_id, subject, email, role) VALUES ($1, $2, $3, $4, $5) RETURNING {COLUMNS}"
    );
    let role = new.role.as_str();
    let params = [
        typed(id.as_uuid(), Type::UUID),
        typed(by.tenant.as_uuid(), Type::UUID),
        typed(&new.subject, Type::TEXT),
        typed(&new.email, Type::TEXT),
        typed(&role, Type::TEXT),
    ];
    let rows = match client.query_typed(&sql, &params).await.map_err(DbError::from) {
        Err(error) if error.is_unique_violation() || error.waited_for("tenant_members_subject") => {
            return Err(ProvisionError::MemberTaken(new.subject.clone()));
        }
        // purged a moment ago
        Err(error) if error.is_foreign_key_violation() => return Err(DbError::ContextExpired.into()),
        other => other?,
    };
    let added = member(rows.first().ok_or(DbError::Misuse("a member was not stored"))?)?;
    let details = json!({ "subject": added.subject, "role": added.role });
    note(&client, by, "member.add", id, details).await?;
    once::finish(&client, once, &added).await?;
    client.give_back();
    Ok(added)
}

async fn change(
    client: Lent,
    by: &By<'_>,
    id: MemberId,
    expected: Option<i64>,
    patch: &MemberPatch,
) -> Result<Member, ProvisionError> {
    check_email(patch.email.as_ref().and_then(Option::as_deref))?;
    let before = hold(&client, by, id, expected).await?;
    by.may(before.role, "changing a member")?;
    let role = patch.role.unwrap_or(before.role);
    by.may(role, "making a member one")?;
    if role < Role::Owner {
        keep_an_owner(&client, by, &before).await?;
    }
    let email = patch.email.clone().unwrap_or_else(|| before.email.clone());
    if role == before.role && email == before.email {
        client.batch_execute("ROLLBACK").await?;
        client.give_back();
        return Ok(before);
    }
    let sql = format!(
        "UPDATE public.tenant_members SET role = $3, email = $4, version = version + 1 \
         WHERE id = $1 AND tenant_id = $2 RETURNING {COLUMNS}"
    );
    let word = role.as_str();
    let params = [
        typed(id.as_uuid(), Type::UUID),
        typed(by.tenant.as_uuid(), Type::UUID),
        typed(&word, Type::TEXT),
        typed(&email, Type::TEXT),
    ];
    let rows = client.query_typed(&sql, &params).await?;
    let after = member(rows.first().ok_or(DbError::Misuse("a locked member was not found"))?)?;
    let details = json!({ "subject": after.subject, "role": { "from": before.role, "to": after.role } });
    note(&client, by, "member.update", id, details).await?;
    client.batch_execute("COMMIT").await?;
    client.give_back();
    Ok(after)
}

async fn remove(client: Lent, by: &By<'_>, id: MemberId, expected: Option<i64>) -> Result<Member, ProvisionError> {
    let before = hold(&client, by, id, expected).await?;
    by.may(before.role, "removing a member")?;
    keep_an_owner(&client, by, &before).await?;
    let params = [typed(id.as_uuid(), Type::UUID), typed(by.tenant.as_uuid(), Type::UUID)];
    client.execute_typed("DELETE FROM public.tenant_members WHERE id = $1 AND tenant_id = $2", &params).await?;
    let details = json!({ "subject": before.subject, "role": before.role });
    note(&client, by, "member.remove", id, details).await?;
    client.batch_execute("COMMIT").await?;
    client.give_back();
    Ok(before)
}

/// Begins a change of a member. One at a time for a tenant: who comes second sees what the first has done, so that two
/// who demote each other do not leave a tenant without owners.
async fn hold(client: &Client, by: &By<'_>, id: MemberId, expected: Option<i64>) -> Result<Member, ProvisionError> {
    client.batch_execute(once::BEGIN).await?;
    let tenant = typed(by.tenant.as_uuid(), Type::UUID);
    client.query_typed("SELECT 1 FROM public.tenants WHERE id = $1 FOR NO KEY UPDATE", &[tenant]).await?;
    let found = by_id(client, by.tenant, id).await?;
    let found = found.ok_or_else(|| ProvisionError::UnknownMember(id.to_string()))?;
    match expected {
        Some(version) if version != found.version => Err(ProvisionError::MemberChanged(Box::new(found))),
        _ => Ok(found),
    }
}

/// Refuses to take away the last owner.
async fn keep_an_owner(client: &Client, by: &By<'_>, leaving: &Member) -> Result<(), ProvisionError> {
    if leaving.role != Role::Owner {
        return Ok(());
    }
    let sql = "SELECT 1 FROM public.tenant_members WHERE tenant_id = $1 AND role = 'owner' AND id <> $2 LIMIT 1";
    let params = [typed(by.tenant.as_uuid(), Type::UUID), typed(leaving.id.as_uuid(), Type::UUID)];
    if client.query_typed(sql, &params).await?.is_empty() {
        return Err(ProvisionError::LastOwner(leaving.subject.clone()));
    }
    Ok(())
}

async fn note(
    client: &Client,
    by: &By<'_>,
    action: &str,
    id: MemberId,
    details: serde_json::Value,
) -> Result<(), DbError> {
    audit(client, Some(*by.tenant.as_uuid()), by.actor, action, &format!("member/{id}"), details).await
}

/// As tokens have it, so that whoever is listed can also be met.
fn check_subject(subject: &str) -> Result<(), ProvisionError> {
    if (1..=MAX_SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control) {
        return Ok(());
    }
    let detail = format!("a subject has 1 to {MAX_SUBJECT} bytes and no control characters");
    Err(ProvisionError::Invalid { member: "subject", detail })
}

fn check_email(email: Option<&str>) -> Result<(), ProvisionError> {
    match email.map(crate::provision::check_email) {
        Some(Err(ProvisionError::Invalid { detail, .. })) => Err(ProvisionError::Invalid { member: "email", detail }),
        other => other.unwrap_or(Ok(())),
    }
}
