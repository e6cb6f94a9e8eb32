//! Which crate may know which: the rules of ARCHITECTURE.md, read from the manifests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each package of the workspace with the packages that its product build depends on.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let product = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        all.iter().filter(|d| d["kind"].is_null()).map(name).collect()
    };
    packages.iter().map(|package| (name(package), product(package))).collect()
}

/// Crates that exist for tests and measurements only.
const NOT_THE_PRODUCT: [&str; 4] = ["testkit", "isolation", "bench", "bookings"];

/// The client of the tenant plane, which shares the domain's types.
const CLIENT: &str = "tenantry-client";

#[test]
fn tenancy_knows_no_domain() {
    for (package, needs) in dependencies() {
        // the client speaks for the domain, from outside
        if package.starts_with("tenantry-") && package != CLIENT {
            assert!(!needs.contains("workforce"), "{package} must not know the agent domain");
            assert!(!needs.contains("tenantry"), "{package} must not know the binary");
        }
    }
}

#[test]
fn one_crate_opens_connections() {
    for (package, needs) in dependencies() {
        let may = package == "tenantry-postgres" || NOT_THE_PRODUCT.contains(&package.as_str());
        assert!(
            may || !needs.contains("tokio-postgres"),
            "{package} must reach the database through tenantry-postgres"
        );
    }
}

#[test]
fn the_core_does_no_io() {
    let core = &dependencies()["tenantry-core"];
    for forbidden in ["tokio", "tokio-postgres", "axum", "reqwest"] {
        assert!(!core.contains(forbidden), "tenantry-core must not need {forbidden}");
    }
}

/// A client knows of the server what goes over the wire, and only the command line needs a client.
#[test]
fn the_client_stands_outside() {
    for (package, needs) in dependencies() {
        if package == CLIENT {
            for forbidden in
                ["tenantry-postgres", "tenantry-control", "tenantry-embedded", "tenantry", "tokio-postgres"]
            {
                assert!(!needs.contains(forbidden), "{package} must not need {forbidden}");
            }
        } else if package != "tenantry" && !NOT_THE_PRODUCT.contains(&package.as_str()) {
            assert!(!needs.contains(CLIENT), "{package} must not call the API");
        }
    }
}

#[test]
fn the_product_contains_nothing_of_the_tests() {
    for (package, needs) in dependencies() {
        if !NOT_THE_PRODUCT.contains(&package.as_str()) {
            let found: Vec<_> = NOT_THE_PRODUCT.iter().filter(|test| needs.contains(**test)).collect();
            assert!(found.is_empty(), "{package} needs {found:?}");
        }
    }
}

/// A switch that turns a defence off must not be in what is shipped.
#[test]
fn no_product_build_has_the_switches_of_the_negative_controls() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--package", "tenantry", "--edges", "normal,features"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("tenantry-postgres"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!tree.contains("negative-controls"));
}
