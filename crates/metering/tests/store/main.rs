//! The statements on a real schema.

use metering::store::calls;
use testkit::{World, WorldConfig};
use tokio_postgres::types::Kind;

#[tokio::test]
async fn every_statement_on_calls_fits_the_migrated_schema() {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let client = world.admin().await;
    // With the rights and the path that they run with.
    let role = context.tenant().role().quoted();
    client.batch_execute(&format!("SET ROLE {role}; SET search_path = pg_catalog, pg_temp")).await.unwrap();
    for statement in calls::STATEMENTS {
        let text = statement.for_schema(&context.tenant().schema);
        // Without types of ours, the server says which it takes the parameters for.
        let inferred = client.prepare(&text).await.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        assert_eq!(inferred.params(), statement.params(), "{}", statement.name());
        for column in inferred.columns() {
            let simple = matches!(column.type_().kind(), Kind::Simple);
            assert!(simple, "{}: `{}` needs a round trip for its type", statement.name(), column.name());
        }
    }
}
