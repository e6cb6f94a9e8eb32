//! Negative controls: each defence switched off once, and the check that stands for it must find something. Without them a
//! check that looks in the wrong place would pass for ever.

use std::time::Duration;

use isolation::residue::residue;
use isolation::{Scene, assert_leak, assert_none, checks, privileges};
use tenantry_postgres::Defences;

async fn without(change: impl FnOnce(&mut Defences)) -> Scene {
    Scene::set(|config| change(&mut config.access.defences)).await
}

#[tokio::test]
async fn with_all_defences_no_check_finds_anything() {
    let scene = Scene::set(|_| {}).await;
    assert_none(&checks::scope(&scene).await);
    assert_none(&checks::foreign_tables(&scene).await);
    assert_none(&checks::shadowing(&scene).await);
    assert_none(&checks::temporary(&scene).await);
    assert_none(&checks::owner_reads(&scene).await);
    assert_none(&checks::escape(&scene).await);
    assert_none(&checks::bare_login(&scene).await);
    assert_none(&checks::suspension(&scene, Duration::from_secs(5)).await);
}

#[tokio::test]
async fn without_the_role() {
    let scene = without(|d| d.role = false).await;
    assert_leak(&checks::scope(&scene).await, "runs as the login");
    // The bare login still sees nothing: a second defence. Without that one as well, everything is open.
    assert_none(&checks::foreign_tables(&scene).await);
    inherit(&scene).await;
    scene.world.db.single(&scene.context(&scene.me).await).await.unwrap();
    assert_leak(&checks::foreign_tables(&scene).await, "may read tenant_globex.agents");
}

#[tokio::test]
async fn without_noinherit_of_the_login() {
    let scene = Scene::set(|_| {}).await;
    inherit(&scene).await;
    assert_leak(&checks::bare_login(&scene).await, "it may read tenant_globex.agents");
    assert_leak(&privileges::audit(&scene).await, "inherits from");
}

async fn inherit(scene: &Scene) {
    scene.as_admin("ALTER ROLE {login} INHERIT").await;
    if scene.major >= 16 {
        scene.as_admin("GRANT {me_role}, {mate_role} TO {login} WITH INHERIT TRUE").await;
    }
}

#[tokio::test]
async fn without_the_path_and_without_the_withdrawal_of_temp() {
    let scene = without(|d| d.path = false).await;
    scene.as_admin("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC").await;
    assert_leak(&checks::temporary(&scene).await, "a tenant's role may make temporary tables");
    assert_leak(&checks::temporary(&scene).await, "a login may make temporary tables");
    assert_leak(&checks::shadowing(&scene).await, "read a temporary table");
    assert_leak(&privileges::audit(&scene).await, "PUBLIC: TEMPORARY on database");
}

#[tokio::test]
async fn the_path_alone_stops_shadowing() {
    let scene = Scene::set(|_| {}).await;
    scene.as_admin("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC").await;
    assert_none(&checks::shadowing(&scene).await);
}

#[tokio::test]
async fn without_the_reset() {
    let scene = without(|d| d.reset = false).await;
    scene.as_admin("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC; GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC").await;
    let leaks = residue(&scene).await;
    for plant in [
        "temporary table",
        "temporary function",
        "advisory lock",
        "setting",
        "setting of one's own",
        "search_path",
        "row_security",
        "statement_timeout",
        "read only",
        "session characteristics",
        "hold cursor",
        "prepared statement",
        "listening",
        "last value",
    ] {
        assert_leak(&leaks, &format!("residue: {plant}"));
    }
}

#[tokio::test]
async fn without_row_level_security() {
    for open in [
        "ALTER TABLE analytics.provider_api_calls DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY open ON analytics.provider_api_calls USING (true)",
    ] {
        let scene = Scene::set(|_| {}).await;
        scene.as_admin(open).await;
        let leaks = checks::analytics(&scene).await;
        for shape in ["plain", "count", "sum", "json_agg", "window", "lateral", "union", "cast error", "division"] {
            assert_leak(&leaks, &format!("`{shape}`"));
        }
        assert_leak(&privileges::audit(&scene).await, "analytics.provider_api_calls");
    }
}

#[tokio::test]
async fn without_forced_row_level_security() {
    let scene = Scene::set(|_| {}).await;
    scene.as_admin("ALTER TABLE analytics.daily_metrics NO FORCE ROW LEVEL SECURITY; ALTER TABLE {mate}.credential_proxies NO FORCE ROW LEVEL SECURITY").await;
    let leaks = checks::owner_reads(&scene).await;
    assert_leak(&leaks, "analytics.daily_metrics");
    assert_leak(&leaks, "credential_proxies");
    assert_leak(&privileges::audit(&scene).await, "no forced row level security: analytics.daily_metrics");
}

#[tokio::test]
async fn without_the_withdrawal_of_functions() {
    let scene = Scene::set(|_| {}).await;
    scene.as_admin("GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO PUBLIC").await;
    assert_leak(&checks::escape(&scene).await, "set_config may be called");
    scene.as_admin("GRANT EXECUTE ON FUNCTION ts_stat(text) TO PUBLIC").await;
    assert_leak(&checks::escape(&scene).await, "one statement read a row of globex");
    assert_leak(&privileges::audit(&scene).await, "EXECUTE on set_config");
}

#[tokio::test]
async fn without_the_check_of_the_context() {
    let scene = without(|d| d.context_check = false).await;
    assert_leak(
        &checks::suspension(&scene, Duration::from_secs(5)).await,
        "a context from before still opens transactions",
    );
}

#[tokio::test]
async fn without_invalidation_of_the_cache() {
    let scene = Scene::set(|config| config.registry.invalidate = false).await;
    assert_leak(&checks::suspension(&scene, Duration::from_secs(1)).await, "the cache still serves a suspended tenant");
}

#[tokio::test]
async fn with_a_stray_grant() {
    let scene = Scene::set(|_| {}).await;
    scene.as_admin("GRANT USAGE ON SCHEMA {mate} TO {me_role}; GRANT SELECT (name) ON {mate}.agents TO {me_role}; GRANT SELECT ON {mate}.tasks TO {me_role}").await;
    assert_leak(&checks::foreign_tables(&scene).await, "may read tenant_globex.tasks");
    let leaks = privileges::audit(&scene).await;
    assert_leak(&leaks, "SELECT on column tenant_globex.agents.name");
    assert_leak(&leaks, "SELECT on table tenant_globex.tasks");
}
