use metering::store::{audit, bills, reports, reports_calls, statements};
use tokio_postgres::types::Kind;

use crate::ledger::Ledger;

#[tokio::test]
async fn every_statement_fits_the_migrated_schema() {
    let ledger = Ledger::start().await;
    ledger.admin.batch_execute("SET ROLE tenantry_meter; SET search_path = pg_catalog, pg_temp").await.unwrap();
    let all =
        [audit::STATEMENTS, bills::STATEMENTS, reports::STATEMENTS, reports_calls::STATEMENTS, statements::STATEMENTS]
            .concat();
    for statement in all {
        let declared = ledger.admin.prepare_typed(statement.sql(), statement.params()).await;
        let declared = declared.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        for column in declared.columns() {
            let simple = matches!(column.type_().kind(), Kind::Simple | Kind::Array(_));
            assert!(simple, "{}: `{}` needs a round trip for its type", statement.name(), column.name());
        }
    }
}
