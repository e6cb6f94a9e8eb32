use tokio_postgres::types::Kind;
use workforce::statements;

use crate::Company;

#[tokio::test]
async fn every_statement_fits_the_migrated_schema() {
    let company = Company::start().await;
    let tenant = company.context.tenant();
    let client = company.world.admin().await;
    // With the rights and the path that it runs with.
    let scope = format!("SET ROLE {}; SET search_path = pg_catalog, pg_temp", tenant.role().quoted());
    client.batch_execute(&scope).await.unwrap();
    assert!(statements().len() > 15);
    for statement in statements().into_iter().chain(tenantry_postgres::event_statements()) {
        let text = statement.for_schema(&tenant.schema);
        // Without types of ours, the server says which it takes the parameters for.
        let inferred = client.prepare(&text).await.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        assert_eq!(inferred.params(), statement.params(), "{}", statement.name());
        let declared = client.prepare_typed(&text, statement.params()).await;
        let declared = declared.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        for column in declared.columns() {
            let simple = matches!(column.type_().kind(), Kind::Simple);
            assert!(simple, "{}: `{}` needs a round trip for its type", statement.name(), column.name());
        }
    }
}
