//! `tenantry migrate drift`, `lint` and `plan`.

use testkit::admin_client;

use super::installation::Installation;
use super::{Ran, tenantry};

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_and_its_sql_mends_it() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    for slug in ["acme", "globex"] {
        run(&["tenant", "create", slug, "--admin-email", "a@b.example"]).ok();
    }
    assert!(run(&["migrate", "drift"]).ok().stdout.contains("no drift: 2 tenants compared"));
    let admin = admin_client(&installation.database).await;
    let drift = "DROP INDEX tenant_acme.agents_live_name; ALTER TABLE tenant_acme.agents ADD COLUMN note text; \
                 GRANT SELECT ON tenant_acme.agents TO PUBLIC; GRANT SELECT ON public.cells TO tenantry_meter";
    admin.batch_execute(drift).await.unwrap();
    let told = run(&["migrate", "drift"]);
    for line in [
        "acme (schema tenant_acme, version",
        "- index tenant.agents_live_name is missing",
        "+ grant SELECT on table tenant.agents to PUBLIC",
        "+ column tenant.agents.note: text",
        "outside the tenants",
        "+ grant SELECT on table public.cells to tenantry_meter",
    ] {
        assert!(told.stdout.contains(line), "{line}: {}", told.stdout);
    }
    assert!(!told.stdout.contains("globex"), "{}", told.stdout);
    told.fails(9, "1 tenant of 2 compared, 1 outside the tenants");
    let json = run(&["migrate", "drift", "--tenant", "acme", "--json"]);
    assert_eq!(json.code, Some(9));
    assert_eq!(json.json()["tenants"][0]["differences"].as_array().unwrap().len(), 3);
    run(&["migrate", "drift", "--tenant", "globex"]).ok();
    run(&["migrate", "drift", "--tenant", "nobody"]).fails(3, "`nobody` does not exist");

    let careful = run(&["migrate", "drift", "--sql"]).stdout;
    assert!(
        careful.contains("-- removes data; look at it first: ALTER TABLE \"tenant_acme\".agents DROP COLUMN note;"),
        "{careful}"
    );
    let sql = run(&["migrate", "drift", "--sql", "--destroy"]).stdout;
    admin.batch_execute(&sql).await.unwrap();
    run(&["migrate", "drift"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_tried_on_a_tenant() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    run(&["tenant", "create", "acme", "--admin-email", "a@b.example"]).ok();
    assert!(run(&["migrate", "plan"]).ok().stdout.contains("nothing to do"));
    let directory = installation.directory.path().join("set");
    std::fs::create_dir(&directory).unwrap();
    for (file, sql) in workforce::MIGRATIONS {
        std::fs::write(directory.join(file), sql).unwrap();
    }
    let note = format!("{:04}_note", workforce::tenant_schema().needs + 1);
    let file = directory.join(format!("{note}.sql"));
    std::fs::write(&file, "ALTER TABLE tenant.agents ADD COLUMN note text;").unwrap();
    let plan = run(&["migrate", "plan", "--dir", "set", "--tenant", "acme"]).ok().stdout;
    for line in [
        note.as_str(),
        "tried on `acme`, and rolled back",
        "lock     agents AccessExclusiveLock: blocks readers and writers",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    std::fs::write(&file, "ALTER TABLE tenant.agents ADD COLUMN name text;").unwrap();
    run(&["migrate", "plan", "--dir", "set", "--tenant", "acme"]).fails(1, &format!("`{note}` fails on `acme`"));
}

#[test]
fn dangerous_migrations_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let lint =
        |args: &[&str]| Ran::of(&tenantry(directory.path()).args(["migrate", "lint"]).args(args).output().unwrap());
    std::fs::write(directory.path().join("0001_baseline.sql"), "CREATE TABLE tenant.notes (body text);").unwrap();
    assert_eq!(lint(&["--dir", "."]).ok().stdout, "nothing found\n");
    let drop = "SELECT 1;\nALTER TABLE tenant.notes DROP COLUMN body;\n";
    std::fs::write(directory.path().join("0002_drop.sql"), drop).unwrap();
    let found = lint(&["0002_drop.sql"]);
    assert!(found.stdout.contains("0002_drop.sql:2: error: ban-drop-column"), "{}", found.stdout);
    assert!(found.stdout.contains("safer: release programs that do not name it"), "{}", found.stdout);
    found.fails(10, "1 finding");
    lint(&["0009_none.sql"]).fails(2, "`0009_none.sql` is not in `.`");
}
