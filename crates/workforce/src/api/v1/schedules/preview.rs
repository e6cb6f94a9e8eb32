use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use utoipa::IntoParams;

use crate::cron::Cron;
use crate::schedule::{self, Preview, Run};
use crate::{Error, Scheduling};

const MAX_RUNS: i64 = 100;
const DEFAULT_RUNS: i64 = 5;

/// What is to be tried out.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewSchedule {
    /// Five fields (minute, hour, day of month, month, day of week) or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[param(example = "0 9 * * MON-FRI")]
    cron_expression: String,
    /// A name of the IANA database; the company's own zone unless given.
    #[param(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// How many runs, 1 to 100; 5 unless given.
    #[param(minimum = 1, maximum = 100)]
    count: Option<i64>,
}

/// Shows when a schedule with this expression would run, before there is one.
#[utoipa::path(
    get,
    path = "/v1/schedules/preview",
    operation_id = "preview_schedule",
    tag = "schedules",
    params(PreviewSchedule),
    responses(Common, (status = 200, description = "the runs from now on", body = Preview)),
)]
pub(super) async fn preview_schedule(
    TenantScope(context): TenantScope,
    State(scheduling): State<Scheduling>,
    ApiQuery(query): ApiQuery<PreviewSchedule>,
) -> Result<Json<Preview>, Problem> {
    let wrong = |parameter| move |detail: String| Error::InvalidQuery { parameter, detail };
    let cron = Cron::parse(&query.cron_expression).map_err(|error| wrong("cron_expression")(error.to_string()))?;
    schedule::check_interval(&query.cron_expression, scheduling.min_interval()).map_err(wrong("cron_expression"))?;
    let zone = match &query.time_zone {
        Some(name) => schedule::zone(name).map_err(wrong("time_zone"))?,
        None => context.tenant().time_zone,
    };
    let count = query.count.unwrap_or(DEFAULT_RUNS);
    let runs = usize::try_from(count).ok().filter(|_| (1..=MAX_RUNS).contains(&count));
    let runs = runs.ok_or_else(|| wrong("count")(format!("must be 1 to {MAX_RUNS}, is `{count}`")))?;
    let next_runs = cron.upcoming(scheduling.now(), zone, runs).into_iter().map(|at| Run::at(at, zone)).collect();
    Ok(Json(Preview { cron_expression: query.cron_expression, time_zone: zone.name().to_owned(), next_runs }))
}
