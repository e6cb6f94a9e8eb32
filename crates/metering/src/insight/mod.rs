//! What sums of calls say: periods, savings, forecasts, why costs changed. Only arithmetic; no I/O.

mod bridge;
mod forecast;
mod latency;
mod measures;
mod period;
mod roi;

pub use bridge::{Bridge, GroupSums, Rates, Side, bridge};
pub use forecast::{Anomaly, Forecast, HISTORY_DAYS, History, NoForecast, Outlook, anomalies, forecast};
pub use latency::Latency;
pub use measures::{Coverage, Measures, Tokens};
pub use period::{BadPeriod, MAX_DAYS, Period, PeriodInfo, after, before};
pub use roi::{Baseline, Covered, Roi, RoiCalculation};
