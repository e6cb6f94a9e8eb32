//! `tenantry member`, `tenantry plan` and operators' roles.

use super::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn members_plans_and_operators_at_the_command_line() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    run(&["tenant", "create", "acme", "--admin-email", "a@acme.example"]).ok();

    let ada =
        run(&["-o", "json", "member", "add", "acme", "auth0|ada", "--role", "owner", "--email", "ada@acme.example"])
            .ok()
            .json();
    assert_eq!((ada["subject"].as_str(), ada["role"].as_str()), (Some("auth0|ada"), Some("owner")));
    run(&["member", "add", "acme", "auth0|ada", "--role", "viewer"]).fails(4, "is a member already");
    run(&["member", "set-role", "acme", "auth0|ada", "viewer"]).fails(4, "last owner");
    run(&["member", "remove", "acme", "auth0|ada", "--yes"]).fails(4, "last owner");
    run(&["member", "add", "acme", "bob", "--role", "owner"]).ok();
    let changed = run(&["-o", "json", "member", "set-role", "acme", ada["id"].as_str().unwrap(), "viewer"]).ok().json();
    assert_eq!(changed["role"], "viewer");
    run(&["member", "remove", "acme", "auth0|ada"]).fails(5, "");
    run(&["member", "remove", "acme", "auth0|ada", "--yes"]).ok();
    let listed = run(&["member", "list", "acme"]).ok().stdout;
    assert!(listed.contains("bob") && !listed.contains("ada"), "{listed}");
    run(&["member", "set-role", "acme", "nobody", "viewer"]).fails(3, "hint: `tenantry member list SLUG`");
    run(&["member", "list", "nobody"]).fails(3, "`nobody` does not exist");

    run(&["plan", "create", "team", "--max-agents", "7", "--requests-per-minute", "100"]).ok();
    run(&["plan", "create", "team"]).fails(4, "exists already");
    run(&["plan", "create", "Team"]).fails(2, "1 to 20 of a-z");
    let team = run(&["-o", "json", "plan", "update", "team", "--max-agents", "unlimited", "--storage-limit-gb", "5"])
        .ok()
        .json();
    assert_eq!((team["max_agents"].is_null(), team["storage_limit_gb"].as_i64()), (true, Some(5)));
    run(&["plan", "update", "team"]).fails(2, "nothing to change");
    assert!(run(&["plan", "list"]).ok().stdout.contains("team"));
    run(&["tenant", "update", "acme", "--plan", "team"]).ok();
    run(&["plan", "delete", "team", "--yes"]).fails(4, "has tenants");
    run(&["tenant", "update", "acme", "--plan", "free"]).ok();
    run(&["plan", "delete", "team", "--yes"]).ok();
    run(&["plan", "delete", "team", "--yes"]).fails(3, "`team` does not exist");

    let made = run(&["-o", "json", "operator", "create", "sue", "--role", "support"]).ok().json();
    assert_eq!(made["role"], "support");
    assert!(run(&["operator", "list"]).ok().stdout.contains("support"));
}
