use crate::Scene;
use metering::store::{budgets, leases, notices};

#[tokio::test]
async fn every_statement_fits_the_migrated_schema() {
    let scene = Scene::open().await;
    let tenant = scene.context.tenant();
    let client = scene.world.admin().await;
    let scopes = [
        (tenant.role().quoted(), budgets::STATEMENTS.to_vec()),
        ("tenantry_meter".to_owned(), leases::STATEMENTS.to_vec()),
    ];
    for (role, statements) in scopes {
        client.batch_execute(&format!("SET ROLE {role}; SET search_path = pg_catalog, pg_temp")).await.unwrap();
        for statement in statements {
            let text = statement.for_schema(&tenant.schema);
            let inferred =
                client.prepare(&text).await.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
            assert_eq!(inferred.params(), statement.params(), "{}", statement.name());
        }
        client.batch_execute("RESET ROLE").await.unwrap();
    }
    for statement in notices::STATEMENTS {
        let own = ["PUBLISH_NOTICE", "FIND_NOTICE"].contains(&statement.name());
        let role = if own { tenant.role().quoted() } else { "tenantry_meter".to_owned() };
        client.batch_execute(&format!("RESET ROLE; SET ROLE {role}")).await.unwrap();
        let inferred = client.prepare(statement.sql()).await;
        let inferred = inferred.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name()));
        assert_eq!(inferred.params(), statement.params(), "{}", statement.name());
    }
}
