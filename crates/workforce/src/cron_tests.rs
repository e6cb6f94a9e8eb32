use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The runs after an instant, as the zone's clocks show them, each with its offset.
fn runs(expression: &str, zone: Tz, after: &str, count: usize) -> Vec<String> {
    let runs = Cron::parse(expression).unwrap().upcoming(utc(after), zone, count);
    runs.iter().map(|at| at.with_timezone(&zone).format("%a %m-%d %H:%M %z").to_string()).collect()
}

#[test]
fn five_fields_and_nicknames_are_read() {
    for (expression, first) in [
        ("*/15 * * * *", "Thu 01-01 00:15 +0000"),
        ("0 9 * * MON-FRI", "Thu 01-01 09:00 +0000"),
        ("  0   9 * * mon ", "Mon 01-05 09:00 +0000"),
        ("0 0 1 jan,jul *", "Wed 07-01 00:00 +0000"),
        ("0 12 * * 0", "Sun 01-04 12:00 +0000"),
        ("0 12 * * 7", "Sun 01-04 12:00 +0000"),
        ("10-20/5 8 * * *", "Thu 01-01 08:10 +0000"),
        ("0 0 L * *", "Sat 01-31 00:00 +0000"),
        ("0 8 * * MON#1", "Mon 01-05 08:00 +0000"),
        ("0 8 * * 1L", "Mon 01-26 08:00 +0000"),
        ("0 8 * * fri#l", "Fri 01-30 08:00 +0000"),
        ("0 8 31W * *", "Fri 01-30 08:00 +0000"),
        ("@hourly", "Thu 01-01 01:00 +0000"),
        ("@Daily", "Fri 01-02 00:00 +0000"),
        ("@midnight", "Fri 01-02 00:00 +0000"),
        ("@weekly", "Sun 01-04 00:00 +0000"),
        ("@monthly", "Sun 02-01 00:00 +0000"),
        ("@yearly", "Fri 01-01 00:00 +0000"),
        ("@annually", "Fri 01-01 00:00 +0000"),
    ] {
        assert_eq!(runs(expression, Tz::UTC, "2026-01-01T00:00:00Z", 1), [first], "{expression}");
    }
}

#[test]
fn other_texts_are_refused_with_what_is_wrong() {
    for (expression, said) in [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@reboot", "is not one of"),
        ("@every 5m", "is not one of"),
        ("60 * * * *", "is not a cron expression"),
        ("* 24 * * *", "is not a cron expression"),
        ("* * 0 * *", "is not a cron expression"),
        ("* * 32 * *", "is not a cron expression"),
        ("* * * 13 *", "is not a cron expression"),
        ("* * * * 8", "is not a cron expression"),
        ("* * * * FOO", "`FOO` is not understood as day of week"),
        ("* * * * JAN", "`JAN` is not understood as day of week"),
        ("* * * MON *", "`MON` is not understood as month"),
        ("* * * JANFEB *", "`JANFEB` is not understood as month"),
        ("* * * * 0MON", "is not understood as day of week"),
        ("* * * * +FRI", "is not understood as day of week"),
        ("MON * * * *", "`MON` is not understood as minute"),
        ("* @ * * *", "`@` is not understood as hour"),
        ("* * ? * *", "`?` is not understood as day of month"),
        ("1,,2 * * * *", "`` is not understood as minute"),
        ("*/0 * * * *", "is not a cron expression"),
        ("5-1 * * * *", "is not a cron expression"),
        ("-5 * * * *", "`-5` is not understood as minute"),
        ("*/ * * * *", "`*/` is not understood as minute"),
        ("0 0 30 2 *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
    ] {
        let error = Cron::parse(expression).err().unwrap_or_else(|| panic!("`{expression}` is read")).to_string();
        assert!(error.contains(said), "`{expression}`: {error}");
    }
    assert!(Cron::parse(&format!("{} * * * *", "1,".repeat(150))).is_err());
}

#[test]
fn two_days_mean_either() {
    let either = runs("0 0 13 * FRI", Tz::UTC, "2026-02-01T00:00:00Z", 4);
    assert_eq!(
        either,
        ["Fri 02-06 00:00 +0000", "Fri 02-13 00:00 +0000", "Fri 02-20 00:00 +0000", "Fri 02-27 00:00 +0000"]
    );
    let either = runs("0 0 1 * MON", Tz::UTC, "2026-02-24T00:00:00Z", 3);
    assert_eq!(either, ["Sun 03-01 00:00 +0000", "Mon 03-02 00:00 +0000", "Mon 03-09 00:00 +0000"]);
}

#[test]
fn a_fixed_time_that_is_left_out_is_due_when_the_clocks_are_put_forward() {
    let daily = runs("30 2 * * *", Tz::Europe__Berlin, "2026-03-27T12:00:00Z", 3);
    assert_eq!(daily, ["Sat 03-28 02:30 +0100", "Sun 03-29 03:00 +0200", "Mon 03-30 02:30 +0200"]);
    // several of them are one run, and so is the one that is named for that time anyway
    let several = runs("0,20,40 2,3 * * *", Tz::Europe__Berlin, "2026-03-29T00:59:00Z", 3);
    assert_eq!(several, ["Sun 03-29 03:00 +0200", "Sun 03-29 03:20 +0200", "Sun 03-29 03:40 +0200"]);
    let new_york = runs("0 2 * * SUN", Tz::America__New_York, "2026-03-05T00:00:00Z", 2);
    assert_eq!(new_york, ["Sun 03-08 03:00 -0400", "Sun 03-15 02:00 -0400"]);
}

#[test]
fn a_fixed_time_that_is_shown_twice_is_due_once() {
    let daily = runs("30 2 * * *", Tz::Europe__Berlin, "2026-10-24T12:00:00Z", 2);
    assert_eq!(daily, ["Sun 10-25 02:30 +0200", "Mon 10-26 02:30 +0100"]);
    // asked in the second pass, too
    let later = runs("30 2 * * *", Tz::Europe__Berlin, "2026-10-25T01:10:00Z", 1);
    assert_eq!(later, ["Mon 10-26 02:30 +0100"]);
    let steps = runs("*/30 2 * * *", Tz::Europe__Berlin, "2026-10-25T00:00:00Z", 2);
    assert_eq!(steps, ["Sun 10-25 02:30 +0200", "Mon 10-26 02:00 +0100"]);
}

#[test]
fn every_hour_goes_by_elapsed_time() {
    let autumn = runs("0 * * * *", Tz::Europe__Berlin, "2026-10-24T23:00:00Z", 4);
    assert_eq!(
        autumn,
        ["Sun 10-25 02:00 +0200", "Sun 10-25 02:00 +0100", "Sun 10-25 03:00 +0100", "Sun 10-25 04:00 +0100"]
    );
    let spring = runs("30 0-23 * * *", Tz::Europe__Berlin, "2026-03-29T00:00:00Z", 3);
    assert_eq!(spring, ["Sun 03-29 01:30 +0100", "Sun 03-29 03:30 +0200", "Sun 03-29 04:30 +0200"]);
    // half an hour is repeated on Lord Howe
    let lord_howe = runs("45 * * * *", Tz::Australia__Lord_Howe, "2026-04-04T13:50:00Z", 3);
    assert_eq!(lord_howe, ["Sun 04-05 01:45 +1100", "Sun 04-05 01:45 +1030", "Sun 04-05 02:45 +1030"]);
    // the days still count: the second pass of the 25th is not the 26th
    let one_day = runs("0 * 25 10 *", Tz::Europe__Berlin, "2026-10-24T23:30:00Z", 3);
    assert_eq!(one_day, ["Sun 10-25 02:00 +0200", "Sun 10-25 02:00 +0100", "Sun 10-25 03:00 +0100"]);
}

#[test]
fn a_day_that_a_zone_left_out_is_made_up_for_at_once() {
    let apia = runs("0 9 * * *", Tz::Pacific__Apia, "2011-12-29T12:00:00Z", 3);
    assert_eq!(apia, ["Thu 12-29 09:00 -1000", "Sat 12-31 00:00 +1400", "Sat 12-31 09:00 +1400"]);
}

#[test]
fn the_shortest_interval_is_found() {
    for (expression, minutes) in [
        ("* * * * *", 1),
        ("*/15 * * * *", 15),
        ("0,58 * * * *", 2),
        ("59 23 * * *", 1440),
        ("0 0 * * *", 1440),
        ("0 0,23 * * *", 60),
        ("0 9 * * MON", 7 * 1440),
    ] {
        assert_eq!(Cron::parse(expression).unwrap().shortest_interval().num_minutes(), minutes, "{expression}");
    }
}

#[test]
fn an_expression_that_is_due_rarely_is_found_quickly() {
    let start = std::time::Instant::now();
    assert_eq!(runs("0 0 29 2 MON#5", Tz::UTC, "2026-01-01T00:00:00Z", 1).len(), 1);
    for never in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * 31W 2 *"] {
        assert!(Cron::parse(never).is_err(), "{never}");
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
}

fn field(range: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = String> {
    let (low, high) = (*range.start(), *range.end());
    prop_oneof![
        2 => Just("*".to_owned()),
        2 => (low..=high).prop_map(|n| n.to_string()),
        1 => (2..=high.max(2)).prop_map(|n| format!("*/{n}")),
        1 => (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => proptest::collection::vec(low..=high, 1..4).prop_map(|list| list.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
    ]
}

proptest! {
    /// Runs come in order, one after the other, whatever the clocks do; and none is left out between two: asking from any instant
    /// before a run gives that run or an earlier one.
    #[test]
    fn runs_are_in_order_and_complete(
        minute in field(0..=59), hour in field(0..=23), day in field(1..=28), month in field(1..=12),
        start in 1_325_376_000_i64..2_500_000_000, back in 1_i64..200_000, zone in 0..chrono_tz::TZ_VARIANTS.len(),
    ) {
        let zone = chrono_tz::TZ_VARIANTS[zone];
        let cron = Cron::parse(&format!("{minute} {hour} {day} {month} *")).unwrap();
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let runs = cron.upcoming(start, zone, 6);
        prop_assert_eq!(runs.len(), 6);
        prop_assert!(start < runs[0] && runs.is_sorted_by(|a, b| a < b), "{:?}", runs);
        let last = *runs.last().unwrap();
        let asked = last - TimeDelta::seconds(back);
        let next = cron.next(asked, zone).unwrap();
        prop_assert!(asked < next && next <= last);
        if asked >= start {
            prop_assert!(runs.contains(&next), "{next} is not among {runs:?}");
        }
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(text in "[-0-9*/,@#LWa-z ?]{0,30}") {
        let _ = Cron::parse(&text);
    }
}
