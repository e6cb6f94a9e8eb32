//! The rules of squawk, without those that another part of this product answers, and with what they mean for a fleet.

use squawk_linter::{Linter, Rule};

use super::file::SqlFile;
use super::{Finding, Severity};

/// What the runner does for every migration: time limits, transactions, one execution. And tastes.
const LEFT_OUT: &[Rule] = &[
    Rule::RequireTimeoutSettings,
    Rule::RequireLockTimeout,
    Rule::RequireStatementTimeout,
    Rule::PreferRobustStmts,
    Rule::PreferBigintOverInt,
    Rule::PreferBigintOverSmallint,
    Rule::PreferTextField,
    // Said by rules of our own, of all kinds of statements.
    Rule::BanConcurrentIndexCreationInTransaction,
    Rule::UnusedIgnore,
];

const CONTRACT: &str = "a contract step: only after no running program uses it any more, in a release of its own";

pub(super) fn check(file: &SqlFile) -> Vec<Finding> {
    let mut linter = Linter::with_rules(&[], LEFT_OUT);
    linter.settings.assume_in_transaction = file.transactional;
    let violations = linter.lint(&file.parse, &file.text);
    violations
        .into_iter()
        .map(|violation| {
            let contract = is_contract(violation.code);
            Finding {
                file: file.name.clone(),
                line: file.line(usize::from(violation.text_range.start())),
                rule: violation.code.to_string(),
                severity: Severity::Error,
                why: if contract { format!("{CONTRACT}. {}", violation.message) } else { violation.message },
                safer: safer(violation.code).map_or_else(|| violation.help.unwrap_or_default(), str::to_owned),
                allowed: None,
            }
        })
        .collect()
}

fn is_contract(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::BanDropColumn
            | Rule::BanDropTable
            | Rule::BanDropView
            | Rule::BanDropFunction
            | Rule::BanDropType
            | Rule::BanDropDefault
            | Rule::RenamingColumn
            | Rule::RenamingTable
            | Rule::RenamingObject
    )
}

/// Where the fleet has a safer way of its own.
fn safer(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::RequireConcurrentIndexCreation => {
            "CREATE INDEX CONCURRENTLY in a file of its own with `-- tenantry: no-transaction`; where the table is small in every tenant, allow it and say so"
        }
        Rule::RequireConcurrentIndexDeletion => {
            "DROP INDEX CONCURRENTLY in a file of its own with `-- tenantry: no-transaction`"
        }
        Rule::ChangingColumnType => {
            "the table is rewritten under ACCESS EXCLUSIVE: add a column of the new type, write both, copy in batches, read the new one, and drop the old one in a later release"
        }
        Rule::AddingNotNullableField | Rule::AddingRequiredField => {
            "add it with a constant DEFAULT, or nullable; fill it; then ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID, VALIDATE in the next migration, SET NOT NULL after"
        }
        Rule::ConstraintMissingNotValid | Rule::AddingForeignKeyConstraint => {
            "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration: validation lets others read and write"
        }
        Rule::DisallowedUniqueConstraint => {
            "CREATE UNIQUE INDEX CONCURRENTLY in one migration, ADD CONSTRAINT … USING INDEX in the next"
        }
        Rule::RenamingColumn | Rule::RenamingTable | Rule::RenamingObject => {
            "add the new name beside the old one, write both, move the readers, and drop the old one in a later release"
        }
        Rule::BanDropColumn | Rule::BanDropTable => {
            "release programs that do not name it, wait until no other runs, then drop it; its rows are gone for good, also for `migrate down`"
        }
        _ => return None,
    })
}
