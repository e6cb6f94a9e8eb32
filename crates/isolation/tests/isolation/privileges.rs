//! The audit of privileges finds exactly what tenants, logins and PUBLIC are to have.

use isolation::privileges::audit;
use isolation::{Scene, assert_leak, assert_none, simple};
use tenantry_postgres::initialise;
use testkit::{TestDatabase, alone, url_for};

#[tokio::test]
async fn roles_have_what_they_need_and_nothing_else() {
    let scene = Scene::set(|_| {}).await;
    assert_none(&audit(&scene).await);
}

async fn prepare_again(scene: &Scene) {
    let _alone = alone().await;
    initialise(&url_for(&scene.world.database.name), &scene.world.database.config).await.unwrap();
}

#[tokio::test]
async fn a_second_initialisation_takes_nothing_and_gives_nothing() {
    let scene = Scene::set(|_| {}).await;
    prepare_again(&scene).await;
    assert_none(&audit(&scene).await);
}

#[tokio::test]
async fn initialisation_heals_what_a_stolen_login_wrote_into_itself() {
    let scene = Scene::set(|_| {}).await;
    let (thief, _) = scene.login(&scene.me.login).await;
    for sql in [
        "ALTER ROLE SESSION_USER SET role = '{mate_role}'",
        "ALTER ROLE SESSION_USER SET search_path = {mate}",
        "ALTER ROLE SESSION_USER PASSWORD 'planted'",
    ] {
        thief.batch_execute(&scene.fill(sql)).await.unwrap();
    }
    let leaks = audit(&scene).await;
    assert_leak(&leaks, "setting role=");
    assert_leak(&leaks, "setting search_path=tenant_globex");
    prepare_again(&scene).await;
    assert_none(&audit(&scene).await);
    scene.login(&scene.me.login).await;
}

#[tokio::test]
async fn every_kind_of_excess_is_found() {
    let scene = Scene::set(|_| {}).await;
    for (excess, found) in [
        ("GRANT CREATE ON SCHEMA {me} TO {me_role}", "CREATE on schema tenant_acme"),
        ("GRANT SELECT ON public.tenants TO PUBLIC", "PUBLIC: SELECT on table tenants"),
        ("GRANT CREATE ON DATABASE {database} TO {login}", "CREATE on database"),
        ("GRANT USAGE ON LANGUAGE plpgsql TO tenantry_tenant", "tenantry_tenant: USAGE on language plpgsql"),
        ("GRANT {stranger_role} TO {login}", "_1: member of tnt_"),
        ("GRANT pg_read_all_data TO {me_role}", "member of pg_read_all_data"),
        ("ALTER ROLE {mate_role} BYPASSRLS", "bypassrls"),
        ("ALTER ROLE {mate_role} SET role = 'tenantry_owner'", "setting role=tenantry_owner"),
        ("ALTER DATABASE {database} SET search_path = public", "database: setting search_path=public"),
        ("ALTER TABLE {me}.tasks OWNER TO {me_role}", "owns tenant_acme.tasks"),
        (
            "CREATE FUNCTION analytics.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint'",
            "security definer: analytics.peek()",
        ),
        (
            "CREATE VIEW analytics.all_calls AS SELECT * FROM analytics.provider_api_calls",
            "view with its owner's rights: analytics.all_calls",
        ),
        ("GRANT SET ON PARAMETER log_statement TO {me_role}", "SET on parameter log_statement"),
        ("GRANT EXECUTE ON FUNCTION pg_stat_get_live_tuples(oid) TO PUBLIC", "EXECUTE on pg_stat_get_live_tuples(oid)"),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE tenantry_owner GRANT SELECT ON TABLES TO PUBLIC",
            "PUBLIC: SELECT on default r of tenantry_owner",
        ),
        (
            "CREATE ROLE {login}_mallory; GRANT SELECT ON {me}.agents TO {login}_mallory",
            "_mallory: SELECT on table tenant_acme.agents",
        ),
        ("REVOKE SELECT ON {me}.agents FROM {me_role}", "missing"),
    ] {
        scene.as_admin(excess).await;
        assert_leak(&audit(&scene).await, found);
    }
    // The roles outlive the test's database; what concerns the whole server goes.
    scene.as_admin("REVOKE SET ON PARAMETER log_statement FROM {me_role}; ALTER ROLE {mate_role} RESET ALL; REVOKE pg_read_all_data FROM {me_role}; \
        REVOKE ALL ON {me}.agents FROM {login}_mallory; DROP ROLE {login}_mallory").await;
}

/// PUBLIC may connect to the databases that a server comes with. They are not ours to close: other programs may use them. There is
/// nothing of a tenant in them; a database of ours admits the logins of its own installation only.
#[tokio::test]
async fn at_other_databases_a_login_finds_nothing() {
    let scene = Scene::set(|_| {}).await;
    let other = TestDatabase::create().await;
    for login in [&scene.me.login, &scene.lone.login] {
        let refused = scene.login_to(login, &other.name).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code().map(|c| c.code()), Some("42501"), "{refused:?}");
        for database in ["postgres", "template1"] {
            let Ok((client, _)) = scene.login_to(login, database).await else { continue };
            let readable = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                            WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
            assert_eq!(simple(&client, readable).await.unwrap(), ["0"], "{database} has no tables at all");
            assert!(simple(&client, "CREATE TABLE public.letter_box (a int)").await.is_err(), "{database}");
        }
    }
}
