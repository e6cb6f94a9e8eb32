use tenantry_postgres::migrate::Drift;
use testkit::TestDatabase;

#[tokio::test]
async fn a_new_tenant_is_what_the_migrations_make_of_an_old_one() {
    let database = TestDatabase::create().await;
    let drift = Drift::new(&database.config, workforce::tenant_schema());
    assert_eq!(drift.baseline().await.unwrap(), []);
}
