//! `migrate`: the fleet at the command line.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tenantry_embedded::{Throwaway, ThrowawayConfig};
use testkit::FullDisk;
use tokio_postgres::{Client, NoTls};

use super::Ran;
use super::installation::Installation;

const TENANTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

async fn fleet() -> (Installation, Client) {
    fleet_of(Installation::prepared().await).await
}

async fn fleet_of(installation: Installation) -> (Installation, Client) {
    for slug in TENANTS {
        installation.run(&["tenant", "create", slug, "--admin-email", "a@b.example"]).ok();
    }
    let (client, connection) = tokio_postgres::connect(&installation.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    std::fs::create_dir(installation.directory.path().join("m")).unwrap();
    for (file, sql) in workforce::MIGRATIONS {
        write(&installation, file, sql);
    }
    (installation, client)
}

/// The version of the program's own set; the tests add the next.
fn latest() -> i32 {
    workforce::tenant_schema().needs
}

fn write(installation: &Installation, file: &str, sql: &str) {
    std::fs::write(installation.directory.path().join("m").join(file), sql).unwrap();
}

/// Makes a tenant's next migration fail: the name is taken.
async fn spoil(client: &Client, slug: &str) {
    client.batch_execute(&format!("CREATE TABLE tenant_{slug}.colors ()")).await.unwrap();
}

fn events(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_from_its_file_to_the_whole_fleet_and_back() {
    let (ours, next) = (latest(), latest() + 1);
    let (up, down) = (format!("{next:04}_add_colors.sql"), format!("{next:04}_add_colors.down.sql"));
    let (installation, client) = fleet().await;
    let run = |args: &[&str]| installation.run(args);
    let written = run(&["-o", "json", "migrate", "new", "add_colors", "--dir", "m"]).ok().json();
    assert_eq!(written, serde_json::json!([format!("m/{up}"), format!("m/{down}")]));
    run(&["migrate", "new", "Add Colors", "--dir", "m"]).fails(2, "is not a migration's name");
    // As it was written it holds no statement.
    run(&["migrate", "up", "--dir", "m"]).fails(2, &format!("`{down}` is empty"));
    write(&installation, &up, "CREATE TABLE tenant.colors (name text); GRANT SELECT ON tenant.colors TO tenant_role");
    write(&installation, &down, "DROP TABLE tenant.colors");

    spoil(&client, "globex").await;
    let ran = run(&["migrate", "up", "--dir", "m", "--stop-share", "100"]);
    assert_eq!(ran.code, Some(7), "{}\n{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("globex")
            && ran.stdout.contains("42P07")
            && ran.stdout.contains(up.trim_end_matches(".sql")),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("hint: when its cause is mended: `tenantry migrate up --dir m --tenant globex`"),
        "{}",
        ran.stderr
    );
    let status = run(&["migrate", "status", "--dir", "m"]).ok().stdout;
    assert!(
        status.contains(&format!("1 at version {ours}, behind"))
            && status.contains(&format!("3 at version {next}, latest")),
        "{status}"
    );
    assert!(status.contains("42P07"), "{status}");
    // All that were tried failed.
    run(&["migrate", "up", "--dir", "m", "--tenant", "globex"]).fails(8, "0 tenants migrated, 1 failed");
    client.batch_execute("DROP TABLE tenant_globex.colors").await.unwrap();
    let ran = run(&["migrate", "up", "--dir", "m", "--tenant", "globex", "--json"]).ok();
    let told = events(&ran);
    let kinds: Vec<&str> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "wave", "migrated", "finished"]);
    assert_eq!((told[2]["slug"].as_str(), told[3]["outcome"].as_str()), (Some("globex"), Some("done")));
    assert!(run(&["migrate", "up", "--dir", "m"]).ok().stdout.contains("nothing to do"));
    let steps = run(&["-o", "json", "migrate", "history", "globex"]).ok().json();
    let states: Vec<&str> = steps.as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "failed", "failed"]);
    assert_eq!(run(&["-o", "json", "migrate", "history"]).ok().json().as_array().unwrap().len(), 3);

    run(&["migrate", "drift", "--dir", "m"]).ok();
    client.batch_execute("DROP TABLE tenant_acme.colors").await.unwrap();
    let ran = run(&["migrate", "drift", "--dir", "m"]);
    assert!(ran.stdout.contains("- table tenant.colors is missing"), "{}", ran.stdout);
    ran.fails(9, "1 tenant of 4 compared");
    let mend = run(&["migrate", "drift", "--dir", "m", "--sql"]).stdout;
    client.batch_execute(&mend).await.unwrap();
    run(&["migrate", "drift", "--dir", "m"]).ok();

    // The program's own set is behind now.
    run(&["migrate", "up"]).fails(8, &format!("this program knows {ours}"));
    assert!(run(&["migrate", "status"]).ok().stdout.contains("ahead of this program"));
    write(&installation, &up, "CREATE TABLE tenant.colors (title text)");
    run(&["migrate", "up", "--dir", "m"])
        .fails(8, &format!("`{next:04}_add_colors` of the tenant set has another text"));
    write(&installation, &up, "CREATE TABLE tenant.colors (name text); GRANT SELECT ON tenant.colors TO tenant_role");
    run(&["migrate", "down", "--to", &ours.to_string(), "--dir", "m"]).ok();
    assert!(run(&["migrate", "status"]).ok().stdout.contains(&format!("4 at version {ours}, latest")));
    run(&["migrate", "down", "--to", "0", "--dir", "m"]).fails(8, "`0001_baseline` cannot be undone");
    run(&["migrate", "up", "--tenant", "nobody"]).fails(3, "`nobody` does not exist");
    run(&["migrate", "up", "--to", "900"]).fails(2, "there is no version 900");
    run(&["migrate", "up", "--window", "22"]).fails(2, "is not a window");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_stops_a_run_and_an_interrupted_one_goes_on() {
    let next = latest() + 1;
    let up = format!("{next:04}_colors.sql");
    let (installation, client) = fleet().await;
    let run = |args: &[&str]| installation.run(args);
    write(&installation, &up, "CREATE TABLE tenant.colors (name text)");
    run(&["tenant", "update", "umbrella", "--canary", "true"]).ok();
    spoil(&client, "umbrella").await;
    run(&["migrate", "up", "--dir", "m"]).fails(8, "stopped, because the canary `umbrella` failed");
    client.batch_execute("DROP TABLE tenant_umbrella.colors").await.unwrap();

    // Held up by a reader; the first signal lets what is at work end.
    client.batch_execute("BEGIN; LOCK tenant_umbrella.agents IN ACCESS SHARE MODE").await.unwrap();
    write(&installation, &up, "ALTER TABLE tenant.agents ADD COLUMN color text");
    let args = ["migrate", "up", "--dir", "m", "--json", "--lock-timeout", "100ms", "--tries", "1000"];
    let mut child = installation.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("\"event\":\"retry\"")));
    run(&["migrate", "up", "--dir", "m"]).fails(8, "another run is at work: tenantry migrate, process");
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.last().unwrap().contains("\"outcome\":\"interrupted\""), "{rest:?}");
    let ended = Ran::of(&child.wait_with_output().unwrap());
    ended.fails(8, "interrupted: 0 tenants migrated");
    client.batch_execute("COMMIT").await.unwrap();
    assert!(run(&["migrate", "up", "--dir", "m"]).ok().stdout.contains(&format!("4 tenants at version {next}")));
    let columns =
        "SELECT count(*) FROM pg_attribute WHERE attname = 'color' AND attrelid::regclass::text LIKE '%agents'";
    assert_eq!(client.query_one(columns, &[]).await.unwrap().get::<_, i64>(0), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_for_space_is_named_in_the_command_that_tries_again() {
    let disk = FullDisk::new();
    let config = ThrowawayConfig {
        settings: vec![("allow_in_place_tablespaces".into(), "on".into())],
        environment: disk.environment(),
        ..ThrowawayConfig::default()
    };
    let server = Throwaway::start(config).await.unwrap();
    let installation = Installation::on(&server.cluster().superuser_url("postgres")).await;
    installation.run(&["init"]).ok();
    let (installation, client) = fleet_of(installation).await;
    client.batch_execute("CREATE TABLESPACE small LOCATION ''").await.unwrap();
    client.batch_execute("GRANT CREATE ON TABLESPACE small TO tenantry_owner").await.unwrap();
    let next = format!("{:04}_colors.sql", latest() + 1);
    write(&installation, &next, "CREATE TABLE tenant.colors (name text PRIMARY KEY USING INDEX TABLESPACE small)");
    disk.fill("/pg_tblspc/");
    let both = ["migrate", "up", "--dir", "m", "--tenant", "acme", "--tenant", "globex"];
    let ran = installation.run(&[&both[..], &["--stop-share", "100"]].concat());
    assert!(ran.stdout.contains("53100") && ran.stdout.contains("No space left on device"), "{}", ran.stdout);
    ran.fails(8, "`tenantry migrate up --dir m --tenant acme --tenant globex`");
    disk.free();
    installation.run(&both).ok();
    installation.run(&["migrate", "up", "--dir", "m"]).ok();
    installation.run(&["migrate", "drift", "--dir", "m"]).ok();
    drop(client);
}
