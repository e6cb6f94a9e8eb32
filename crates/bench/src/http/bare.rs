//! The handler to compare with: one prepared query for one table, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;
use workforce::store::agents::FIND_AGENT;

use crate::ground::Ground;

#[derive(Clone)]
struct Bare {
    connections: Arc<[(Client, Statement)]>,
    next: Arc<AtomicUsize>,
}

/// The same members as the product's answer.
#[derive(Serialize)]
struct Agent {
    id: Uuid,
    name: String,
    role: String,
    personality_prompt: String,
    status: String,
    current_task_id: Option<Uuid>,
    capabilities: serde_json::Value,
    tool_permissions: serde_json::Value,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

pub(super) async fn router(ground: &Ground, slug: &str, connections: usize) -> anyhow::Result<Router> {
    let schema = tenantry_core::SchemaName::for_slug(&slug.parse()?);
    let text = FIND_AGENT.for_schema(&schema);
    let mut prepared = Vec::new();
    for _ in 0..connections {
        let client = ground.admin().await?;
        let statement = client.prepare(&text).await?;
        prepared.push((client, statement));
    }
    let state = Bare { connections: prepared.into(), next: Arc::default() };
    Ok(Router::new().route("/v1/agents/{id}", get(find)).with_state(state))
}

async fn find(State(bare): State<Bare>, Path(id): Path<Uuid>) -> Result<Json<Agent>, StatusCode> {
    let at = bare.next.fetch_add(1, Ordering::Relaxed) % bare.connections.len();
    let (client, statement) = &bare.connections[at];
    match client.query_opt(statement, &[&id, &false]).await {
        Ok(Some(row)) => read(&row).map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR),
        Ok(None) => Err(StatusCode::NOT_FOUND),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn read(row: &Row) -> Result<Agent, tokio_postgres::Error> {
    Ok(Agent {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        personality_prompt: row.try_get("personality_prompt")?,
        status: row.try_get("status")?,
        current_task_id: row.try_get("current_task_id")?,
        capabilities: row.try_get("capabilities")?,
        tool_permissions: row.try_get("tool_permissions")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        deleted_at: row.try_get("deleted_at")?,
    })
}
