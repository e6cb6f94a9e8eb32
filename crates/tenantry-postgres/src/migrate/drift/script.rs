//! The statements that mend differences, as a script for `psql`.

use super::compare::{Difference, Repair};
use crate::connect::Logins;

/// The statements in an order in which they can run, in one transaction: roles and owners first, by a superuser, and
/// then the tables, as their owner. What removes rows is commented out unless `destroy` is given.
#[must_use]
pub fn repair_script(differences: &[Difference], destroy: bool) -> String {
    let mut repairs: Vec<&Repair> = differences.iter().flat_map(|difference| &difference.repair).collect();
    repairs.sort_by_key(|repair| repair.phase);
    let mut seen = std::collections::HashSet::new();
    repairs.retain(|repair| seen.insert(&repair.sql));
    let (administrative, own): (Vec<&Repair>, Vec<&Repair>) =
        repairs.into_iter().partition(|repair| repair.administrative);
    let mut script = String::from("BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n");
    administrative.iter().for_each(|repair| push(&mut script, repair, destroy));
    if !own.is_empty() {
        script.push_str(&format!("SET LOCAL ROLE {};\n", Logins::OWNER));
        own.iter().for_each(|repair| push(&mut script, repair, destroy));
    }
    script.push_str("COMMIT;\n");
    script
}

fn push(script: &mut String, repair: &Repair, destroy: bool) {
    if repair.sql.starts_with("--") {
        script.push_str(&repair.sql.replace('\n', "\n-- "));
        script.push('\n');
    } else if repair.destroys && !destroy {
        script.push_str("-- removes data; look at it first: ");
        script.push_str(&repair.sql.replace('\n', "\n-- "));
        script.push_str(";\n");
    } else {
        script.push_str(&repair.sql);
        script.push_str(";\n");
    }
}
