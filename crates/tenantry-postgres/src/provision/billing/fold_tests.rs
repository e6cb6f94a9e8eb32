use chrono::TimeZone as _;
use proptest::prelude::*;

use super::*;

fn policy() -> BillingPolicy {
    let prices = [("price_s", "starter"), ("price_g", "growth")];
    let prices = prices.map(|(price, plan)| (price.to_owned(), plan.to_owned())).into();
    BillingPolicy { prices, ..BillingPolicy::default() }
}

fn at(second: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000 + second, 0).unwrap()
}

fn event(id: &str, kind: EventKind, second: i64, status: &str, price: &str) -> BillingEvent {
    let own = !matches!(kind, EventKind::Paid | EventKind::PaymentFailed);
    BillingEvent {
        id: id.to_owned(),
        kind,
        created: at(second),
        customer: "cus_1".to_owned(),
        subscription: "sub_1".to_owned(),
        status: own.then(|| status.to_owned()),
        prices: if own { vec![price.to_owned()] } else { Vec::new() },
    }
}

fn stands(events: &[BillingEvent]) -> (Standing, Option<String>) {
    let verdict = fold(events, &policy());
    (verdict.standing, verdict.plan)
}

#[test]
fn a_life_of_a_subscription() {
    use EventKind::{Created, Deleted, Paid, PaymentFailed, Updated};
    let life = [
        event("1", Created, 0, "incomplete", "price_s"),
        event("2", Paid, 1, "", ""),
        event("3", Updated, 1, "active", "price_s"),
        event("4", Updated, 50, "active", "price_g"),
        event("5", PaymentFailed, 100, "", ""),
        event("6", Updated, 100, "past_due", "price_g"),
        event("7", PaymentFailed, 200, "", ""),
        event("8", Paid, 300, "", ""),
        event("9", Deleted, 400, "canceled", "price_g"),
    ];
    let growth = || Some("growth".to_owned());
    let starter = || Some("starter".to_owned());
    let expected = [
        (Standing::None, None),
        (Standing::Paid, starter()),
        (Standing::Paid, starter()),
        (Standing::Paid, growth()),
        (Standing::PastDue, growth()),
        (Standing::PastDue, growth()),
        (Standing::PastDue, growth()),
        (Standing::Paid, growth()),
        (Standing::Cancelled, growth()),
    ];
    for (count, expected) in (1..).zip(expected) {
        assert_eq!(stands(&life[..count]), expected, "after {count} events");
    }
    assert_eq!(fold(&life[..7], &policy()).past_due_since, Some(at(100)), "since the first failure, not the last");
}

#[test]
fn of_the_same_second_the_later_kind_counts() {
    use EventKind::{Created, Deleted, Paid, PaymentFailed, Updated};
    let made = event("0", Created, 0, "active", "price_s");
    let both = |a, b| stands(&[made.clone(), a, b]).0;
    let (failed, paid) = (event("z", PaymentFailed, 9, "", ""), event("a", Paid, 9, "", ""));
    assert_eq!(both(failed.clone(), paid), Standing::Paid);
    assert_eq!(
        both(event("a", Deleted, 9, "canceled", "price_s"), event("z", Updated, 9, "active", "price_s")),
        Standing::Cancelled
    );
    assert_eq!(both(failed, event("a", Updated, 9, "active", "price_s")), Standing::Paid);
}

#[test]
fn what_has_ended_does_not_come_back_but_a_new_one_counts() {
    use EventKind::{Created, Deleted, Updated};
    let ended = event("1", Deleted, 10, "canceled", "price_s");
    let late = event("2", Updated, 20, "active", "price_g");
    assert_eq!(stands(&[ended.clone(), late]).0, Standing::Cancelled);
    let mut again = event("3", Created, 5, "active", "price_g");
    again.subscription = "sub_2".to_owned();
    assert_eq!(stands(&[ended, again]), (Standing::Paid, Some("growth".to_owned())));
}

#[test]
fn an_unknown_price_keeps_the_plan_and_is_named() {
    let events = [
        event("1", EventKind::Created, 0, "active", "price_s"),
        event("2", EventKind::Updated, 5, "active", "price_x"),
    ];
    let verdict = fold(&events, &policy());
    assert_eq!((verdict.plan.as_deref(), verdict.unknown_prices), (Some("starter"), vec!["price_x".to_owned()]));
}

fn any_event() -> impl Strategy<Value = BillingEvent> {
    let kind = proptest::sample::select(EventKind::ALL.to_vec());
    let status = proptest::sample::select(vec![
        "incomplete",
        "active",
        "trialing",
        "past_due",
        "unpaid",
        "paused",
        "canceled",
        "incomplete_expired",
        "new_word",
    ]);
    let price = proptest::sample::select(vec!["price_s", "price_g", "price_x"]);
    (kind, 0_i64..6, status, price, 0_u8..3, 0_u8..40).prop_map(|(kind, second, status, price, subscription, id)| {
        let mut event =
            event(&format!("evt_{id}_{kind}_{second}_{status}_{price}_{subscription}"), kind, second, status, price);
        event.subscription = format!("sub_{subscription}");
        event
    })
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        events in proptest::collection::vec(any_event(), 0..12),
        repeated in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        seed: u64,
    ) {
        let expected = fold(&events, &policy());
        let mut shuffled = events.clone();
        if !events.is_empty() {
            shuffled.extend(repeated.iter().map(|index| index.get(&events).clone()));
        }
        // a fixed shuffle by the seed
        shuffled.sort_by_key(|event| {
            use std::hash::{DefaultHasher, Hash as _, Hasher as _};
            let mut hasher = DefaultHasher::new();
            (seed, &event.id).hash(&mut hasher);
            hasher.finish()
        });
        prop_assert_eq!(fold(&shuffled, &policy()), expected);
    }

    /// A plan that was paid for at some moment is never forgotten by hearing more: otherwise what a tenant has at the end
    /// would depend on what was heard on the way.
    #[test]
    fn hearing_more_forgets_no_plan(events in proptest::collection::vec(any_event(), 1..10), cut: prop::sample::Index) {
        let some = &events[..cut.index(events.len())];
        if fold(some, &policy()).plan.is_some() {
            prop_assert!(fold(&events, &policy()).plan.is_some());
        }
    }
}
