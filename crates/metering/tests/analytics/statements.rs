//! Statements, and what they cost.

use metering::store::analytics::statements;
use tokio_postgres::types::Kind;

use crate::Stage;

#[tokio::test]
async fn every_statement_fits_the_migrated_schema() {
    let stage = Stage::empty().await;
    let (tenant, roles) = (stage.acme.tenant(), ["tenantry_meter".to_owned()]);
    assert!(statements().len() > 10);
    for statement in statements() {
        // with the rights that it runs with
        let role = if statement.name() == "KEEP_CALCULATION" || statement.name() == "FIND_CALCULATION" {
            roles[0].clone()
        } else {
            tenant.role().quoted()
        };
        stage.admin.batch_execute(&format!("SET ROLE {role}; SET search_path = pg_catalog, pg_temp")).await.unwrap();
        let text = statement.for_schema(&tenant.schema);
        let inferred =
            stage.admin.prepare(&text).await.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        assert_eq!(inferred.params(), statement.params(), "{}", statement.name());
        let declared = stage.admin.prepare_typed(&text, statement.params()).await.unwrap();
        for column in declared.columns() {
            let simple = matches!(column.type_().kind(), Kind::Simple | Kind::Array(_));
            assert!(simple, "{}: `{}` needs a round trip for its type", statement.name(), column.name());
        }
        stage.admin.batch_execute("RESET ROLE").await.unwrap();
    }
}
