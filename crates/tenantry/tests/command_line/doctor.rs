//! `doctor`. What it finds is tested where it looks; here is how it tells.

use testkit::admin_client;

use super::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_what_fails_and_how_to_mend_it() {
    let installation = Installation::prepared().await;
    installation.run(&["tenant", "create", "acme", "--admin-email", "a@acme.example"]).ok();
    admin_client(&installation.database).await.batch_execute("UPDATE public.cells SET tenants = 7").await.unwrap();
    let ran = installation.run(&["doctor"]);
    assert!(ran.stdout.contains("fail  fleet.cells"), "{}", ran.stdout);
    assert!(ran.stdout.contains("mend: UPDATE public.cells SET tenants = 1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("ok    roles.attributes"), "{}", ran.stdout);
    ran.fails(11, "results: ");
    let quiet = installation.run(&["-o", "json", "doctor", "--quiet"]);
    let findings = quiet.json();
    let findings = findings.as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["severity"] != "ok"), "{findings:?}");
    assert!(findings.iter().any(|finding| finding["check"] == "fleet.cells"), "{findings:?}");
    quiet.fails(11, "exit_code");
}
