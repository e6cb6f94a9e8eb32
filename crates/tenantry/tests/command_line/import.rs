//! `tenant import` and `tenant warm`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use testkit::admin_client;

use super::installation::Installation;

fn csv(slugs: impl IntoIterator<Item = String>) -> String {
    let mut text = String::from("slug,admin_email,plan,domains\n");
    for slug in slugs {
        writeln!(text, "{slug},admin@{slug}.example,starter,{slug}.example.org www.{slug}.example").unwrap();
    }
    text
}

fn path(installation: &Installation, name: &str) -> std::path::PathBuf {
    installation.directory.path().join(name)
}

/// Slug to status and key, the last line of each.
fn report(installation: &Installation) -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(path(installation, "many.csv.report.csv")).unwrap_or_default();
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    text.lines().skip(1).map(fields).map(|f| (f[0].clone(), (f[1].clone(), f[3].clone()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_mistakes_makes_nothing() {
    let installation = Installation::prepared().await;
    let text = "slug,admin_email,plan,dedicated,max_agents,domains\n\
                good,a@b.example,free,,,\n\
                Bad,a@b.example,free,,,\n\
                other,nobody,free,,,\n\
                third,a@b.example,gold,yes,-1,a.example.org\n\
                good,a@b.example,free,,,a.example.org\n\
                fifth,a@b.example,free,,3,a.example.org\n\
                sixth,a@b.example\n";
    std::fs::write(path(&installation, "many.csv"), text).unwrap();
    let ran = installation.run(&["tenant", "import", "many.csv"]);
    for expected in [
        "many.csv:3: `Bad` is not a slug",
        "many.csv:4: `nobody` is not an e-mail address",
        "many.csv:5: `dedicated` is `true` or `false`, not `yes`",
        "many.csv:5: plan `gold` does not exist",
        "many.csv:5: `max_agents` is at least 0",
        "many.csv:6: slug `good` is on line 2 already",
        "many.csv:7: domain `a.example.org` is on line 6 already",
        "many.csv:8: 2 values for 6 columns",
    ] {
        assert!(ran.stderr.contains(expected), "`{expected}` is not in: {}", ran.stderr);
    }
    ran.fails(2, "8 mistakes in `many.csv`; nothing was made");
    std::fs::write(path(&installation, "many.csv"), "slug,color\n").unwrap();
    installation.run(&["tenant", "import", "many.csv"]).fails(2, "column `admin_email` is missing");
    assert!(!path(&installation, "many.csv.report.csv").exists());
    assert_eq!(installation.run(&["-o", "json", "tenant", "list"]).ok().json(), serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on() {
    let installation = Installation::prepared().await;
    installation.run(&["tenant", "create", "t3", "--admin-email", "admin@t3.example", "--plan", "starter"]).ok();
    let slugs = || (0..16).map(|n| format!("t{n}"));
    std::fs::write(path(&installation, "many.csv"), csv(slugs())).unwrap();
    let import = ["-o", "json", "tenant", "import", "many.csv", "--jobs", "3"];
    let mut killed = installation.command(&import).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let created = || report(&installation).values().filter(|(status, _)| status == "created").count();
    while created() < 4 {
        assert!(killed.try_wait().unwrap().is_none(), "it was to be killed before its end");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // SIGKILL.
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = report(&installation);
    // One whose key did not reach the report, and a line that did not reach the disk whole.
    let file = path(&installation, "many.csv.report.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    let (lost, _) = before.iter().find(|(_, (status, _))| status == "created").unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(&format!("{lost},created"))).collect();
    std::fs::write(&file, kept.join("\n") + "\nt9,crea").unwrap();

    // Until the server has seen that the client is gone, its last creations may hold what the next run asks for.
    let admin = admin_client(&installation.database).await;
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tenantry_migrator'";
    while admin.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = installation.run(&import).ok().json();
    let counts = |name: &str| again[name].as_u64().unwrap();
    assert!(counts("new_keys") >= 1 && counts("done_before") >= 3, "{again}");
    assert_eq!((counts("existed"), counts("failed"), counts("tenants")), (1, 0, 16));
    let after = report(&installation);
    for slug in slugs() {
        let (status, key) = &after[&slug];
        if slug == "t3" {
            assert_eq!((status.as_str(), key.as_str()), ("exists", ""));
        } else {
            assert!(status == "created" && key.starts_with("tnk_"), "{slug}: {status}");
        }
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().any(|l| l.starts_with(&format!("{lost},created")) && l.contains("this key is a new one")));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Every tenant is whole: none without key, none twice, and its cell counts it.
    let whole = "SELECT count(*) FROM public.tenants t JOIN pg_namespace n ON n.nspname = t.schema_name \
                 JOIN pg_roles r ON r.rolname = 'tnt_' || replace(t.id::text, '-', '') WHERE EXISTS (SELECT FROM public.tenant_api_keys k WHERE k.tenant_id = t.id)";
    let counted = "SELECT sum(tenants) FROM public.cells";
    for sql in [whole, counted] {
        assert_eq!(admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 16, "{sql}");
    }
    let third = installation.run(&import).ok().json();
    assert_eq!((third["done_before"].as_u64(), third["created"].as_u64()), (Some(15), Some(0)));

    // One that is there otherwise: some are done, or none.
    let text = csv(["t3".into(), "t99".into()]).replace("admin@t3", "other@t3");
    std::fs::write(path(&installation, "some.csv"), &text).unwrap();
    installation.run(&["tenant", "import", "some.csv"]).fails(7, "1 of 2 tenants were not made");
    std::fs::write(path(&installation, "none.csv"), text.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    installation.run(&["tenant", "import", "none.csv"]).fails(8, "`none.csv.report.csv` says why");
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_schemas_are_made_counted_and_removed() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    assert_eq!(run(&["-o", "json", "tenant", "warm", "2"]).ok().json()["ready"], 2);
    run(&["tenant", "create", "acme", "--admin-email", "a@acme.example"]).ok();
    assert_eq!(run(&["-o", "json", "tenant", "warm", "status"]).ok().json()["ready"], 1);
    assert_eq!(run(&["-o", "json", "tenant", "warm", "0"]).ok().json()["ready"], 0);
    run(&["tenant", "warm", "many"]).fails(2, "expected a number");
}
