//! What a period is going to cost, with an interval, and days that stand out.
//!
//! The forecast is a bootstrap of daily costs. From at most eight weeks of complete days it takes a level (the mean of each day of the week
//! once there are four weeks, the mean of all days before) and what each day differed from it. A draw adds to what was spent a level and a
//! difference, drawn with replacement, for each day that is left, no day below nothing; the level itself is drawn as well, from the same differences,
//! because it is known from few days only. Quantiles of many draws are the interval. Differences are widened by `√(n / (n − k))` for the `k` means
//! that were taken from the `n` days.
//!
//! It assumes that days to come differ from the level as past ones did, independently of each other, and knows nothing of growth, holidays or
//! what is planned. The draws are pseudo-random from a fixed start: the same days give the same answer.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate, Weekday};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::before;
use crate::Usd;
use crate::money::share;

/// The most complete days that count.
pub const HISTORY_DAYS: u64 = 56;
/// The fewest complete days for a forecast.
const FEWEST: usize = 14;
/// The fewest complete days for a level of each day of the week.
const FEWEST_FOR_WEEKDAYS: usize = 28;
const DRAWS: usize = 1000;
/// The fewest earlier days of its kind that a day is compared with.
const FEWEST_PEERS: usize = 5;

/// What a period is going to cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"until": "2026-11-30", "expected_usd": "24.1", "low_80_usd": "22.9", "high_80_usd": "25.6", "low_95_usd": "22.2",
    "high_95_usd": "26.9", "history_days": 56, "weekday_aware": true}))]
#[schema(as = CostForecast)]
pub struct Forecast {
    /// The last day that is in it.
    pub until: NaiveDate,
    /// What was spent, and the expected cost of the days that are left.
    pub expected_usd: Usd,
    /// Four times of five it is at least this, one in ten times it is less.
    pub low_80_usd: Usd,
    /// … and at most this, one in ten times it is more.
    pub high_80_usd: Usd,
    /// The same for nineteen times of twenty.
    pub low_95_usd: Usd,
    /// The same for nineteen times of twenty.
    pub high_95_usd: Usd,
    /// The complete days that it is made of.
    pub history_days: i64,
    /// Whether there were enough of them to tell the days of the week apart.
    pub weekday_aware: bool,
}

/// A forecast, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    /// What the period is going to cost; null when nothing can be said.
    #[schema(required)]
    pub forecast: Option<Forecast>,
    /// Why nothing can be said; null with a forecast.
    #[schema(required)]
    pub no_forecast_because: Option<String>,
}

impl From<Result<Forecast, NoForecast>> for Outlook {
    fn from(result: Result<Forecast, NoForecast>) -> Self {
        match result {
            Ok(forecast) => Self { forecast: Some(forecast), no_forecast_because: None },
            Err(why) => Self { forecast: None, no_forecast_because: Some(why.to_string()) },
        }
    }
}

/// Why nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoForecast {
    /// Nothing is left to foresee.
    #[error("the period is over")]
    Over,
    /// It would have to begin with a guess of what is spent until then.
    #[error("the period has not begun")]
    NotBegun,
    /// Too few days.
    #[error("there are {0} complete days with calls to go by, and at least {FEWEST} are needed")]
    TooLittle(usize),
}

/// Complete days in a row, the oldest first, at most [`HISTORY_DAYS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<(NaiveDate, Usd)>);

impl History {
    /// The days before `today`, from the first that has a cost; those between without one cost nothing.
    #[must_use]
    pub fn until(today: NaiveDate, costs: &BTreeMap<NaiveDate, Usd>) -> Self {
        let oldest = before(today, HISTORY_DAYS);
        let Some((first, _)) = costs.range(oldest..today).next() else { return Self::default() };
        let days = first.iter_days().take_while(|day| *day < today);
        Self(days.map(|day| (day, costs.get(&day).copied().unwrap_or_default())).collect())
    }
}

/// Levels of days, and what days differed from them.
struct Model {
    levels: BTreeMap<u32, Decimal>,
    differences: Vec<Decimal>,
    weekday_aware: bool,
}

impl Model {
    fn of(history: &[(NaiveDate, Usd)]) -> Self {
        let weekday_aware = history.len() >= FEWEST_FOR_WEEKDAYS;
        let kind = |day: &NaiveDate| if weekday_aware { day.weekday().num_days_from_monday() } else { 0 };
        let mut sums: BTreeMap<u32, (Decimal, i64)> = BTreeMap::new();
        for (day, cost) in history {
            let (sum, count) = sums.entry(kind(day)).or_default();
            *sum += cost.0;
            *count += 1;
        }
        let levels: BTreeMap<u32, Decimal> =
            sums.into_iter().map(|(kind, (sum, count))| (kind, (sum / Decimal::from(count)).round_dp(12))).collect();
        let (n, k) = (Decimal::from(history.len()), Decimal::from(levels.len()));
        let wider =
            share(n, n - k, 9).map_or(Decimal::ONE, |ratio| Decimal::try_from(ratio.sqrt()).unwrap_or(Decimal::ONE));
        let differences = history
            .iter()
            .map(|(day, cost)| ((cost.0 - levels.get(&kind(day)).copied().unwrap_or_default()) * wider).round_dp(9))
            .collect();
        Self { levels, differences, weekday_aware }
    }

    fn level(&self, day: NaiveDate) -> Decimal {
        let kind = if self.weekday_aware { day.weekday().num_days_from_monday() } else { 0 };
        self.levels.get(&kind).copied().unwrap_or_default()
    }
}

/// SplitMix64: small, and the same everywhere.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<T: Copy + Default>(&mut self, values: &[T]) -> T {
        let count = u64::try_from(values.len()).unwrap_or(1).max(1);
        let index = usize::try_from(self.next() % count).unwrap_or(0);
        values.get(index).copied().unwrap_or_default()
    }
}

/// What the days from `from` to `until` are going to cost: `spent` of them until now, `spent_today` today.
///
/// # Errors
/// [`NoForecast`].
pub fn forecast(
    history: &History,
    today: NaiveDate,
    (from, until): (NaiveDate, NaiveDate),
    spent: Usd,
    spent_today: Usd,
) -> Result<Forecast, NoForecast> {
    if until < today {
        return Err(NoForecast::Over);
    }
    if today < from {
        return Err(NoForecast::NotBegun);
    }
    let History(days) = history;
    if days.len() < FEWEST {
        return Err(NoForecast::TooLittle(days.len()));
    }
    let model = Model::of(days);
    let left: Vec<Decimal> = today.iter_days().take_while(|day| *day <= until).map(|day| model.level(day)).collect();
    // of today only what is still to come
    let to_come = |index: usize, cost: Decimal| {
        let already = if index == 0 { spent_today.0 } else { Decimal::ZERO };
        (cost - already).max(Decimal::ZERO)
    };
    let expected: Decimal = left.iter().enumerate().map(|(index, level)| to_come(index, *level)).sum();
    let mut draws = Draws(0x74_65_6e_61_6e_74_72_79);
    let count = Decimal::from(model.differences.len());
    let mut ends: Vec<Decimal> = (0..DRAWS)
        .map(|_| {
            let drawn: Decimal = model.differences.iter().map(|_| draws.of(&model.differences)).sum();
            let shift = (drawn / count).round_dp(9);
            let rest = left.iter().enumerate();
            rest.map(|(index, level)| to_come(index, level + shift + draws.of(&model.differences))).sum::<Decimal>()
        })
        .collect();
    ends.sort_unstable();
    let at = |thousandth: usize| ends.get(thousandth.min(DRAWS - 1)).copied().unwrap_or(expected);
    let told = |rest: Decimal| Usd((spent.0 + rest).round_dp(6));
    Ok(Forecast {
        until,
        expected_usd: told(expected),
        low_80_usd: told(at(100)),
        high_80_usd: told(at(899)),
        low_95_usd: told(at(25)),
        high_95_usd: told(at(974)),
        history_days: i64::try_from(days.len()).unwrap_or(i64::MAX),
        weekday_aware: model.weekday_aware,
    })
}

/// A day that stands out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"date": "2026-11-12", "cost_usd": "9.1", "usual_usd": "1.2", "score": 14.6}))]
pub struct Anomaly {
    /// Which.
    pub date: NaiveDate,
    /// What it cost.
    pub cost_usd: Usd,
    /// The median of the days that it is compared with.
    pub usual_usd: Usd,
    /// How far from it, in robust standard deviations; below zero for a day that cost less than usual. Null where the days before it were all alike.
    #[schema(required)]
    pub score: Option<f64>,
}

/// Days of `from..=to` that stand out from the up to eight weeks before them: by more than 3.5 robust standard deviations (1.4826 times the median distance
/// from the median) and at least a cent. Working days are compared with working days, weekends with weekends, and only where there are five of
/// them; today, which is not over, with none.
#[must_use]
pub fn anomalies(
    costs: &BTreeMap<NaiveDate, Usd>,
    (from, to): (NaiveDate, NaiveDate),
    today: NaiveDate,
) -> Vec<Anomaly> {
    let Some(first) = costs.keys().next().copied() else { return Vec::new() };
    let last = to.min(before(today, 1));
    let weekend = |day: NaiveDate| matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let cost = |day: NaiveDate| costs.get(&day).copied().unwrap_or_default().0;
    let judge = |day: NaiveDate| {
        let oldest = before(day, HISTORY_DAYS).max(first);
        let peers = oldest.iter_days().take_while(|peer| *peer < day).filter(|peer| weekend(*peer) == weekend(day));
        let peers: Vec<Decimal> = peers.map(cost).collect();
        if peers.len() < FEWEST_PEERS {
            return None;
        }
        let usual = median(peers.clone());
        let spread = median(peers.iter().map(|peer| (peer - usual).abs()).collect()) * Decimal::new(14826, 4);
        let distance = cost(day) - usual;
        let far = distance.abs() >= Decimal::new(1, 2) && distance.abs() > spread * Decimal::new(35, 1);
        far.then(|| Anomaly {
            date: day,
            cost_usd: Usd(cost(day)),
            usual_usd: Usd(usual.round_dp(6)),
            score: share(distance, spread, 1),
        })
    };
    from.max(first).iter_days().take_while(|day| *day <= last).filter_map(judge).collect()
}

fn median(mut values: Vec<Decimal>) -> Decimal {
    values.sort_unstable();
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len() % 2 == 1 { at(middle) } else { (at(middle.saturating_sub(1)) + at(middle)) / Decimal::TWO }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn cents(amount: u64) -> Usd {
        Usd(Decimal::new(i64::try_from(amount).unwrap(), 2))
    }

    /// A company whose weekends are quiet, with noise.
    fn days(seed: u64, from: NaiveDate, count: usize) -> BTreeMap<NaiveDate, Usd> {
        let mut draws = Draws(seed);
        let days = from.iter_days().take(count);
        days.map(|day| {
            let level = if day.weekday().num_days_from_monday() < 5 { 1000 } else { 200 };
            let noise: u64 = (0..4).map(|_| draws.next() % 100).sum();
            (day, cents(level + noise))
        })
        .collect()
    }

    #[test]
    fn a_steady_company_is_foreseen_exactly() {
        let today = day("2026-11-16");
        let costs: BTreeMap<_, _> = before(today, 40).iter_days().take(40).map(|day| (day, cents(500))).collect();
        let history = History::until(today, &costs);
        let spent = cents(15 * 500);
        let found = forecast(&history, today, (day("2026-11-01"), day("2026-11-30")), spent, Usd::ZERO).unwrap();
        assert_eq!(
            (found.expected_usd, found.low_95_usd, found.high_95_usd),
            (cents(15_000), cents(15_000), cents(15_000))
        );
        assert_eq!((found.history_days, found.weekday_aware), (40, true));
        // what today has cost already is not counted again
        let found = forecast(&history, today, (day("2026-11-01"), today), spent + cents(300), cents(300)).unwrap();
        assert_eq!(found.expected_usd, cents(16 * 500));
        let found = forecast(&history, today, (day("2026-11-01"), today), spent + cents(800), cents(800)).unwrap();
        assert_eq!(found.expected_usd, cents(15 * 500 + 800), "more than the level: it is spent");
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be() {
        let today = day("2026-11-16");
        let month = (day("2026-11-01"), day("2026-11-30"));
        let of = |days: u64, today, month| {
            let from = before(today, days);
            let costs: BTreeMap<_, _> =
                from.iter_days().take(usize::try_from(days).unwrap()).map(|day| (day, cents(5))).collect();
            forecast(&History::until(today, &costs), today, month, Usd::ZERO, Usd::ZERO)
        };
        assert_eq!(of(0, today, month).unwrap_err(), NoForecast::TooLittle(0));
        assert_eq!(of(13, today, month).unwrap_err(), NoForecast::TooLittle(13));
        assert!(of(14, today, month).is_ok_and(|found| !found.weekday_aware));
        assert_eq!(of(56, day("2026-12-01"), month).unwrap_err(), NoForecast::Over);
        assert_eq!(of(56, day("2026-10-31"), month).unwrap_err(), NoForecast::NotBegun);
    }

    #[test]
    fn days_between_without_calls_cost_nothing() {
        let costs = BTreeMap::from([(day("2026-11-01"), cents(5)), (day("2026-11-03"), cents(7))]);
        let History(days) = History::until(day("2026-11-05"), &costs);
        assert_eq!(days.iter().map(|(_, cost)| *cost).collect::<Vec<_>>(), [cents(5), Usd::ZERO, cents(7), Usd::ZERO]);
    }

    /// The interval holds what it says: of many companies, about four of five end within the 80 % interval.
    #[test]
    fn the_interval_holds_as_often_as_it_says() {
        let first = day("2026-09-01");
        let mut within = [0, 0];
        for seed in 0..200 {
            let costs = days(seed * 7919, first, 92);
            let today = day("2026-11-10");
            let month = (day("2026-11-01"), day("2026-11-30"));
            let spent = costs.range(month.0..today).map(|(_, cost)| *cost).sum();
            let truth: Usd = costs.range(month.0..=month.1).map(|(_, cost)| *cost).sum();
            let found = forecast(&History::until(today, &costs), today, month, spent, Usd::ZERO).unwrap();
            within[0] += u32::from((found.low_80_usd..=found.high_80_usd).contains(&truth));
            within[1] += u32::from((found.low_95_usd..=found.high_95_usd).contains(&truth));
        }
        assert!((140..=185).contains(&within[0]), "{within:?} of 200");
        assert!((178..=200).contains(&within[1]), "{within:?} of 200");
    }

    #[test]
    fn a_day_that_stands_out_is_found_and_quiet_weekends_are_not() {
        let first = day("2026-10-01");
        let mut costs = days(1, first, 50);
        let today = day("2026-11-20");
        assert_eq!(anomalies(&costs, (first, today), today), []);
        costs.insert(day("2026-11-11"), cents(9000));
        costs.remove(&day("2026-11-17"));
        let found = anomalies(&costs, (first, today), today);
        assert_eq!(found.iter().map(|found| found.date).collect::<Vec<_>>(), [day("2026-11-11"), day("2026-11-17")]);
        assert!(found[0].score.unwrap() > 10.0 && found[1].score.unwrap() < -5.0, "{found:?}");
    }

    proptest! {
        #[test]
        fn intervals_are_in_order(amounts in prop::collection::vec(0_u64..1_000_000, 14..56), spent in 0_u64..1_000_000) {
            let today = day("2026-11-10");
            let from = before(today, amounts.len() as u64);
            let costs: BTreeMap<_, _> = from.iter_days().zip(amounts).map(|(day, amount)| (day, cents(amount + 1))).collect();
            let found = forecast(&History::until(today, &costs), today, (day("2026-11-01"), day("2026-11-30")), cents(spent), Usd::ZERO).unwrap();
            prop_assert!(cents(spent) <= found.low_95_usd);
            prop_assert!(found.low_95_usd <= found.low_80_usd && found.low_80_usd <= found.high_80_usd && found.high_80_usd <= found.high_95_usd);
        }
    }
}
