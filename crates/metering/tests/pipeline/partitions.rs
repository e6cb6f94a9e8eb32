//! Partitions are made ahead and dropped when they are old.

use tenantry_postgres::{Partitions, Retention};

use super::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn old_months_go_by_the_retention_of_their_table() {
    let stage = Stage::new().await;
    let partitions = Partitions::new(&stage.database.config);
    let months = async |parent: &str| -> Vec<i32> {
        let sql = "SELECT (extract(year FROM m) * 12 + extract(month FROM m))::int - (extract(year FROM now()) * 12 + extract(month FROM now()))::int \
                   FROM pg_inherits, LATERAL (SELECT to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') AS m) x WHERE inhparent = $1::text::regclass ORDER BY 1";
        stage.admin.query(sql, &[&parent]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let kept = partitions.keep(Retention { calls: 0, hours: 40, days: 400 }).await.unwrap().unwrap();
    assert_eq!(months("analytics.provider_api_calls").await, [0, 1, 2, 3]);
    assert!(matches!(months("analytics.hourly_metrics").await[0], -2 | -1));
    assert_eq!(months("analytics.daily_metrics").await[0], -4, "as `init` made it");
    assert!(kept.made == 0 && kept.dropped.contains(&kept.dropped[0]), "{kept:?}");
    let again = partitions.keep(Retention { calls: 0, hours: 40, days: 400 }).await.unwrap().unwrap();
    assert_eq!(again, tenantry_postgres::Kept::default(), "nothing is left to do");
    // several servers at once: one does it
    let kept = partitions.keep(Retention { calls: 90, hours: 90, days: 90 });
    let other = Partitions::new(&stage.database.config);
    let (one, two) = tokio::join!(kept, other.keep(Retention { calls: 90, hours: 90, days: 90 }));
    let made = [one.unwrap(), two.unwrap()].into_iter().flatten().map(|kept| kept.made).sum::<i32>();
    assert!(made >= 2, "{made}");
}
