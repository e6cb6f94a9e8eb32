//! A call on its way: admitted, intended, sent, read along, settled.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use reqwest::{Method, Url};
use rust_decimal::Decimal;
use tenantry_http::Problem;
use tenantry_postgres::TenantContext;
use tokio::sync::oneshot;
use uuid::Uuid;
use workforce::keychain::egress::is_refused;

use super::api::{Api, Operation};
use super::ask::Ask;
use super::watch::{Ended, Watch};
use super::{Gateway, headers, refuse};
use crate::budgets::Hold;
use crate::call::{Attribution, Call, Costed, Finish, Kind, Source, UsageSource, bucket};
use crate::codes;
use crate::prices::PriceQuery;
use crate::usage::{Bounds, Flavour, Reading, Usage, measure, read_body};
use std::sync::Arc;

use super::accounts::Account;

const CALL_ID: HeaderName = HeaderName::from_static("x-tenantry-call-id");
const COST: HeaderName = HeaderName::from_static("x-tenantry-cost-usd");
const REQUEST_IDS: [&str; 4] = ["x-request-id", "request-id", "apim-request-id", "x-ms-request-id"];
/// The pause before the first repetition; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// A provider that asks for a longer pause is not asked again; the client is told.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Room that is made for an answer before it is there, whatever length it announces.
const ANNOUNCED: usize = 1024 * 1024;

/// One request of a client.
pub(super) struct Run {
    pub(super) gateway: Gateway,
    pub(super) context: TenantContext,
    pub(super) operation: Operation,
    pub(super) ask: Ask,
    pub(super) asked_bytes: Bytes,
    pub(super) body: Bytes,
    pub(super) operation_id: Uuid,
    pub(super) first_attempt: i16,
    pub(super) retries: u8,
    pub(super) attribution: Attribution,
    pub(super) account: Arc<Account>,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

/// Who waits for the answer's head.
pub(super) struct Head(Option<oneshot::Sender<Result<Response, Problem>>>);

impl Head {
    /// Gives the answer; what nobody waits for is dropped.
    pub(super) fn answer(&mut self, answer: Result<Response, Problem>) {
        if let Some(waiting) = self.0.take() {
            drop(waiting.send(answer));
        }
    }

    async fn closed(&mut self) {
        match &mut self.0 {
            Some(waiting) => waiting.closed().await,
            None => std::future::pending().await,
        }
    }

    fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

/// What an attempt has come to.
enum Step {
    Over,
    /// It cost nothing, and may be made again after a while.
    Again(Duration),
}

/// An attempt that was intended and is to be settled.
pub(super) struct Open {
    pub(super) row: Call,
    hold: Hold,
    pub(super) bounds: Bounds,
    pub(super) started: Instant,
}

impl Run {
    /// Makes the call, with the repetitions that were asked for.
    pub(super) async fn go(self, head: oneshot::Sender<Result<Response, Problem>>) {
        let inner = &self.gateway.inner;
        let mut head = Head(Some(head));
        let mut watch = Watch::new(inner.stop.clone(), Arc::clone(&inner.drains), inner.settings.drain_timeout);
        for number in 0..=self.retries {
            // Boxed: the state of an answer that is read along is large, and there are thousands at once.
            match Box::pin(self.attempt(number, &mut watch, &mut head)).await {
                Step::Over => return,
                Step::Again(pause) => {
                    let waited = watch.until(pause, std::future::pending::<()>(), head.closed()).await;
                    if waited != Err(Ended::TimedOut) || watch.is_left() {
                        return;
                    }
                }
            }
        }
    }

    async fn attempt(&self, number: u8, watch: &mut Watch, head: &mut Head) -> Step {
        let metering = &self.gateway.inner.metering;
        let mut row = self.row(number);
        let bounds = self.bounds();
        let at_most = self.at_most(&row, &bounds);
        let held = at_most.as_ref().and_then(|(_, cost)| cost.cost_usd);
        let hold = match metering.budgets.admit(&self.context, &self.attribution, held).await {
            Ok(hold) => hold,
            Err(error) => {
                head.answer(Err(error.into()));
                return Step::Over;
            }
        };
        self.make_unsettled(&mut row, &bounds, at_most);
        if let Err(error) = metering.spool.intend(&row).await {
            head.answer(Err(refuse::not_spooled(&error)));
            return Step::Over;
        }
        let open = Open { row, hold, bounds, started: Instant::now() };
        let settings = &self.gateway.inner.settings;
        let sent = watch.until(settings.first_byte_timeout, self.send(), head.closed()).await;
        self.gateway.note_used(&self.context, &self.account);
        match sent {
            Ok(Ok(response)) => self.answered(open, response, number, watch, head).await,
            Ok(Err(error)) => self.not_answered(open, &error, number, watch, head).await,
            Err(ended) => {
                let problem = match ended {
                    Ended::TimedOut => refuse::timed_out(settings.first_byte_timeout),
                    Ended::Left | Ended::Stopped => refuse::stopping(),
                };
                self.settle(open, Reading::default(), ended.into()).await;
                head.answer(Err(problem));
                Step::Over
            }
        }
    }

    async fn send(&self) -> reqwest::Result<reqwest::Response> {
        let inner = &self.gateway.inner;
        let client = if self.account.is_tenants_address { &inner.guarded } else { &inner.client };
        let method = if self.operation.is_read() { Method::GET } else { Method::POST };
        let mut request = reqwest::Request::new(method, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        if !self.operation.is_read() {
            *request.body_mut() = Some(self.body.clone().into());
        }
        client.execute(request).await
    }

    /// No answer came.
    async fn not_answered(
        &self,
        open: Open,
        error: &reqwest::Error,
        number: u8,
        watch: &Watch,
        head: &mut Head,
    ) -> Step {
        let refused = is_refused(error);
        let unsent = error.is_connect() || refused;
        let problem = if refused {
            Problem::of(&codes::PROVIDER_ADDRESS_REFUSED)
                .detail("`account_meta.base_url` leads to an address that is not public")
        } else if unsent {
            refuse::unreachable("no connection to the provider was made; the call was not sent")
        } else {
            refuse::unreachable("the connection broke before an answer came; whether a model ran is not known")
        };
        tracing::info!(
            target: "metering::gateway", tenant_id = %self.context.id(), provider = self.account.provider, call_id = %open.row.id,
            error = error as &dyn std::error::Error, "a provider gave no answer"
        );
        // What was never sent cost nothing; for what was sent at least the input may have to be paid.
        let source = if unsent { UsageSource::None } else { UsageSource::Estimated };
        let said = if unsent { "no connection was made" } else { "the connection broke before an answer came" };
        let reading = Reading { source, error: Some(said.to_owned()), ..Reading::default() };
        self.settle(open, reading, if unsent { Finish::Error } else { Finish::Cut }).await;
        if unsent && !refused && number < self.retries && !watch.is_left() {
            return Step::Again(pause(number));
        }
        head.answer(Err(problem));
        Step::Over
    }

    async fn answered(
        &self,
        mut open: Open,
        mut response: reqwest::Response,
        number: u8,
        watch: &mut Watch,
        head: &mut Head,
    ) -> Step {
        let status = response.status();
        open.row.status_code = i16::try_from(status.as_u16()).ok();
        open.row.provider_request_id = request_id(response.headers());
        if status == StatusCode::UNAUTHORIZED {
            self.gateway.note_refused(&self.context, &self.account, "the provider refuses the credential (401)");
        }
        if status.is_success() && is_event_stream(response.headers()) {
            open.row.streamed = true;
            self.stream(open, response, watch, head).await;
            return Step::Over;
        }
        let mut body = Vec::new();
        let read = self.read(&mut response, &mut body, watch, head).await;
        let reading = self.reading(status, &body, read.is_ok());
        let unused = reading.source == UsageSource::None;
        let busy = matches!(status.as_u16(), 429 | 503 | 529);
        let finish = match &read {
            Err(broken) => broken.finish,
            Ok(()) if watch.is_left() || head.is_closed() => Finish::Cancelled,
            Ok(()) if status.is_success() && reading.error.is_none() => Finish::Complete,
            Ok(()) => Finish::Error,
        };
        let id = open.row.id;
        let pause = pause_of(response.headers()).unwrap_or_else(|| pause(number));
        let again = busy && unused && number < self.retries && finish == Finish::Error && pause <= LONGEST_PAUSE;
        let cost = self.settle(open, reading, finish).await;
        if again {
            return Step::Again(pause);
        }
        head.answer(match read {
            Ok(()) => Ok(self.client_answer(status, response.headers(), id, cost, body.into())),
            Err(broken) => Err(broken.problem),
        });
        Step::Over
    }

    /// Reads an answer to its end.
    async fn read(
        &self,
        response: &mut reqwest::Response,
        body: &mut Vec<u8>,
        watch: &mut Watch,
        head: &mut Head,
    ) -> Result<(), Broken> {
        let settings = &self.gateway.inner.settings;
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        body.reserve(announced.min(ANNOUNCED));
        loop {
            match watch.until(settings.idle_timeout, response.chunk(), head.closed()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > settings.answer_limit => {
                    let detail = format!("the provider's answer is larger than {} bytes", settings.answer_limit);
                    let code = &workforce::keychain::codes::SERVICE_ANSWER_REFUSED;
                    return Err(Broken { finish: Finish::Cut, problem: Problem::of(code).detail(detail) });
                }
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(_)) => {
                    let problem = refuse::unreachable("the provider's answer was cut off; it may have to be paid for");
                    return Err(Broken { finish: Finish::Cut, problem });
                }
                Err(ended) => {
                    let problem = match ended {
                        Ended::TimedOut => refuse::timed_out(settings.idle_timeout),
                        Ended::Left | Ended::Stopped => refuse::stopping(),
                    };
                    return Err(Broken { finish: ended.into(), problem });
                }
            }
        }
    }

    /// What an answer in one piece says that it used.
    fn reading(&self, status: StatusCode, body: &[u8], whole: bool) -> Reading {
        let flavour = self.operation.flavour();
        if flavour.is_none() && status.is_success() {
            // It costs nothing, and nothing in it counts anything.
            return Reading { source: UsageSource::None, finished: whole, ..Reading::default() };
        }
        let flavour = flavour.unwrap_or(match self.operation.api() {
            Api::OpenAi => Flavour::OpenAiChat,
            Api::Anthropic => Flavour::AnthropicMessages,
        });
        read_body(flavour, status.as_u16(), body)
    }

    pub(super) fn client_answer(
        &self,
        status: StatusCode,
        from: &HeaderMap,
        id: Uuid,
        cost: Option<Decimal>,
        body: Bytes,
    ) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = self.client_headers(from, id, cost);
        response
    }

    pub(super) fn client_headers(&self, from: &HeaderMap, id: Uuid, cost: Option<Decimal>) -> HeaderMap {
        let mut to = headers::to_client(from);
        let mut text = Uuid::encode_buffer();
        if let Ok(id) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)) {
            to.insert(CALL_ID, id);
        }
        if let Some(cost) = cost.and_then(|cost| HeaderValue::try_from(cost.to_string()).ok()) {
            to.insert(COST, cost);
        }
        to
    }

    /// Has on disk what an attempt was, and gives the cost. After that the answer may end.
    pub(super) async fn settle(&self, open: Open, reading: Reading, finish: Finish) -> Option<Decimal> {
        let Open { mut row, hold, bounds, started } = open;
        let metering = &self.gateway.inner.metering;
        let measured = measure(&reading, &bounds, &self.query(&row), &metering.prices);
        row.usage_source = measured.usage_source;
        row.usage_mismatch = measured.usage_mismatch;
        row.usage = measured.usage;
        row.service_tier = measured.service_tier;
        let answered = reading.model.is_some() || measured.usage_source != UsageSource::None;
        row.model = if answered { measured.model } else { String::new() };
        row.cost = if self.operation.flavour().is_none() { Costed::free() } else { measured.cost };
        row.latency_ms = milliseconds(started.elapsed());
        row.finish = finish;
        row.success = finish == Finish::Complete;
        row.error_message = reading.error.or_else(|| told(finish));
        row.provider_request_id = row.provider_request_id.take().or(reading.provider_request_id);
        let cost = row.cost.cost_usd;
        if let Err(error) = metering.spool.settle(&row).await {
            // Its intent is on disk, so it is not lost: it becomes what it can have been at most.
            tracing::error!(target: "metering::gateway", %error, call_id = %row.id, "a call is not settled");
        }
        hold.settle(&row);
        cost
    }

    /// The row of an attempt that is about to be made.
    fn row(&self, number: u8) -> Call {
        let now = self.gateway.inner.metering.clock.now();
        let (hour, day) = bucket(now, self.context.tenant().time_zone);
        Call {
            id: Uuid::now_v7(),
            tenant_id: self.context.id(),
            kind: Kind::Call,
            adjusts: None,
            prices_call: false,
            operation_id: self.operation_id,
            attempt: self.first_attempt.saturating_add(i16::from(number)),
            source: Source::Gateway,
            attribution: self.attribution.clone(),
            provider: self.account.provider.clone(),
            operation: self.operation.name().to_owned(),
            model: String::new(),
            requested_model: self.ask.model.clone(),
            service_tier: self.ask.service_tier.clone(),
            usage: Usage::default(),
            usage_source: UsageSource::None,
            usage_mismatch: false,
            cost: Costed::free(),
            latency_ms: 0,
            time_to_first_token_ms: None,
            streamed: self.ask.streams,
            success: false,
            error_message: None,
            finish: Finish::Unsettled,
            status_code: None,
            provider_request_id: None,
            timestamp: now,
            hour,
            day,
        }
    }

    /// As what the row stands if it is never seen to end: the most that it can have been.
    fn make_unsettled(&self, row: &mut Call, bounds: &Bounds, at_most: Option<(Usage, Costed)>) {
        if self.operation.flavour().is_none() {
            return;
        }
        (row.usage, row.cost) = at_most.unwrap_or_else(|| {
            let bounds = self.gateway.inner.metering.prices.within(&self.query(row), bounds);
            let output = bounds.output_at_most.unwrap_or(0);
            (Usage { input: bounds.input_at_most, output, ..Usage::default() }, Costed::unpriced())
        });
        row.usage_source = UsageSource::Unsettled;
        row.model = self.ask.model.clone().unwrap_or_default();
    }

    fn bounds(&self) -> Bounds {
        if self.operation.flavour().is_none() {
            return Bounds { output_at_most: Some(0), ..Bounds::default() };
        }
        Bounds::of(&self.asked_bytes, self.ask.output_at_most, self.ask.choices)
    }

    fn at_most(&self, row: &Call, bounds: &Bounds) -> Option<(Usage, Costed)> {
        if self.operation.flavour().is_none() {
            return Some((Usage::default(), Costed::free()));
        }
        self.gateway.inner.metering.prices.at_most(&self.query(row), bounds)
    }

    fn query<'a>(&'a self, row: &Call) -> PriceQuery<'a> {
        PriceQuery {
            tenant: self.context.id(),
            account: Some(self.account.id),
            provider: &self.account.provider,
            model: self.ask.model.as_deref().unwrap_or_default(),
            service_tier: self.ask.service_tier.as_deref().filter(|tier| *tier != "auto"),
            at: row.timestamp,
        }
    }
}

impl From<Ended> for Finish {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::TimedOut | Ended::Stopped => Self::Cut,
            Ended::Left => Self::Cancelled,
        }
    }
}

/// An answer that did not come whole.
struct Broken {
    finish: Finish,
    problem: Problem,
}

fn told(finish: Finish) -> Option<String> {
    let text = match finish {
        Finish::Complete | Finish::Error | Finish::Unsettled => return None,
        Finish::Cancelled => "the client went before the end",
        Finish::Cut => "the answer was cut off",
    };
    Some(text.to_owned())
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.get(.."text/event-stream".len()).is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = REQUEST_IDS.iter().find_map(|name| headers.get(*name))?.to_str().ok()?;
    (!id.is_empty()).then(|| id.chars().take(200).collect())
}

/// The pause that a provider asks for, in whole seconds.
fn pause_of(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

const fn pause(number: u8) -> Duration {
    PAUSE.saturating_mul(1 << if number < 5 { number } else { 5 })
}

pub(super) fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
