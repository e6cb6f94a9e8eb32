use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tenantry_control::{Caller, Common, Repeatable, WithBody};
use tenantry_http::{ApiJson, Problem, ProblemBody};
use tenantry_postgres::Provisioner;
use utoipa::ToSchema;

use crate::Metering;
use crate::codes;
use crate::prices::{LoadRequest, Loaded};

/// A catalogue to be loaded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "note": "prices of November", "dry_run": true, "catalogue":
    "format = 1\n\n[[provider]]\nname = \"openai\"\n\n[[provider.model]]\nname = \"gpt-5\"\n\n[[provider.model.price]]\nfrom = \"2026-11-01\"\nsource = \"https://openai.com/api/pricing\"\nchecked = \"2026-11-01\"\ninput = \"1.25\"\noutput = \"10\"\n" }))]
pub(super) struct LoadCatalogue {
    /// The file, as it is (TOML).
    #[schema(max_length = 4_194_304)]
    catalogue: String,
    /// Why it is loaded.
    #[schema(max_length = 500)]
    note: String,
    /// Only tell what it would do.
    #[serde(default)]
    dry_run: bool,
}

/// Loads a price catalogue over the one in the program, in the place of the one that was loaded before. It says what that changes, and
/// what the calls of the last thirty days would cost; they keep what was recorded. All servers price with it after two seconds at the
/// latest. Loading the one that is loaded already changes nothing.
#[utoipa::path(
    post,
    path = "/admin/v1/prices",
    operation_id = "load_catalogue",
    tag = "prices",
    request_body = LoadCatalogue,
    responses(
        Common,
        WithBody,
        (status = 200, description = "what it has done, or would do", body = Loaded),
        (status = 422, description = "the catalogue is not valid; `flaws` says what is wrong in which line", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn load_catalogue(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    State(metering): State<Metering>,
    ApiJson(body): ApiJson<LoadCatalogue>,
) -> Result<Response, Problem> {
    if body.note.len() > 500 || body.note.contains('\0') || body.note.trim().is_empty() {
        let detail = "must say why, in at most 500 bytes without NUL characters";
        return Err(Problem::of(&codes::VALIDATION_FAILED).pointer("/note", detail).detail(detail));
    }
    let request = LoadRequest { text: body.catalogue, note: body.note, dry_run: body.dry_run };
    let now = metering.clock.now();
    let loading = async { Ok::<_, Problem>(metering.prices.load(&metering.db, &request, &actor, now).await?) };
    let loaded = once.on(&provisioner).beside(loading).await?;
    Ok(once.answer(Json(loaded).into_response()))
}
