use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Datelike as _, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;
use workforce::{Error, Fields, List, Page, Position};

use crate::call::Finish;
use crate::provider_call::{ProviderCall, ProviderCallFilter};
use crate::store::calls;

/// Which calls, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListProviderCalls {
    /// Only those that began at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    from: Option<DateTime<Utc>>,
    /// Only those that began before this instant.
    to: Option<DateTime<Utc>>,
    /// Only of this provider.
    provider: Option<String>,
    /// Only those that this model answered.
    model: Option<String>,
    /// Only for this agent.
    agent_id: Option<Uuid>,
    /// Only for this task.
    task_id: Option<Uuid>,
    /// Only in this session.
    session_id: Option<Uuid>,
    /// Only with this key.
    api_key_id: Option<Uuid>,
    /// Only those that did what was asked, or only those that did not.
    success: Option<bool>,
    /// Only those whose cost is unknown still, or only those whose cost is known.
    unpriced: Option<bool>,
    /// Only those that ended in this way.
    #[param(inline)]
    finish: Option<Finish>,
    /// Only these members of each call, separated by commas.
    #[param(schema_with = workforce::fields::parameter::<ProviderCall>, required = false)]
    fields: Option<Fields<ProviderCall>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

impl ListProviderCalls {
    fn filter(&self) -> Result<ProviderCallFilter, Error> {
        Ok(ProviderCallFilter {
            from: instant("from", self.from)?,
            to: instant("to", self.to)?,
            provider: name("provider", self.provider.as_deref())?,
            model: name("model", self.model.as_deref())?,
            agent_id: self.agent_id,
            task_id: self.task_id,
            session_id: self.session_id,
            api_key_id: self.api_key_id,
            success: self.success,
            unpriced: self.unpriced,
            finish: self.finish,
        })
    }
}

/// What the column could not hold would make PostgreSQL refuse the whole statement.
fn name(parameter: &'static str, given: Option<&str>) -> Result<Option<String>, Error> {
    match given {
        Some(text) if text.chars().count() > 200 || text.contains('\0') => {
            Err(Error::InvalidQuery { parameter, detail: "must have at most 200 characters and no NUL".to_owned() })
        }
        other => Ok(other.map(str::to_owned)),
    }
}

/// PostgreSQL and chrono can represent different years.
fn instant(parameter: &'static str, given: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Error> {
    match given {
        Some(at) if !(1970..=9999).contains(&at.year()) => {
            Err(Error::InvalidQuery { parameter, detail: "must lie in the years 1970 to 9999".to_owned() })
        }
        other => Ok(other),
    }
}

/// Lists calls to providers, the latest first. What was recorded just now appears within seconds.
#[utoipa::path(
    get,
    path = "/v1/provider-calls",
    operation_id = "list_provider_calls",
    tag = "provider calls",
    params(ListProviderCalls),
    responses(Common, (status = 200, description = "a page of calls", body = Page<ProviderCall>)),
)]
pub(super) async fn list_provider_calls(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListProviderCalls>,
) -> Result<Json<Page<ProviderCall>>, Problem> {
    let filter = query.filter()?;
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::ProviderCalls)).transpose()?;
    let mut tx = db.single(&context).await?;
    Ok(Json(calls::list(&mut tx, &filter, after.as_ref(), limit).await?.only(query.fields)))
}
