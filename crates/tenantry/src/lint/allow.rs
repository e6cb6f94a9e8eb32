use super::file::SqlFile;
use super::{Finding, Severity};

/// What somebody allows, with a reason.
pub(super) struct Allowed {
    entries: Vec<Entry>,
}

struct Entry {
    rule: String,
    reason: String,
    /// Where it stands; 0 is in `lint.allow`, which is for the whole file.
    line: usize,
    /// The last line that it is for.
    upto: usize,
}

const MARK: &str = "-- tenantry: allow ";

impl Allowed {
    pub(super) fn of(file: &SqlFile, beside: &str) -> Self {
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(file.text.lines()) {
            let Some(rest) = line.trim().strip_prefix(MARK) else { continue };
            let next = file.statements.iter().map(|stmt| file.lines(stmt)).find(|(first, _)| *first > number);
            entries.push(entry(rest, number, next.map_or(number, |(_, last)| last)));
        }
        for line in beside.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(rest) = line.strip_prefix(&file.name).and_then(|rest| rest.strip_prefix(' ')) {
                entries.push(entry(rest.trim(), 0, usize::MAX));
            }
        }
        Self { entries }
    }

    /// Marks what is allowed, and finds fault with what allows nothing or gives no reason.
    pub(super) fn apply(self, file: &SqlFile, found: &mut Vec<Finding>) {
        let mut faults = Vec::new();
        for entry in self.entries {
            let fault = |rule: &str, severity, why: String| Finding {
                file: file.name.clone(),
                line: entry.line,
                rule: rule.to_owned(),
                severity,
                why,
                safer: "write `-- tenantry: allow RULE: REASON` on a line before the statement".to_owned(),
                allowed: None,
            };
            if entry.reason.is_empty() {
                faults.push(fault(
                    "allow-without-reason",
                    Severity::Error,
                    format!("`{}` is allowed without a reason", entry.rule),
                ));
                continue;
            }
            let mut used = false;
            for finding in found.iter_mut() {
                if finding.rule == entry.rule && (entry.line == 0 || (entry.line..=entry.upto).contains(&finding.line))
                {
                    finding.allowed = Some(entry.reason.clone());
                    used = true;
                }
            }
            if !used {
                let why = format!("`{}` is allowed and not found", entry.rule);
                faults.push(fault("unused-allow", Severity::Warning, why));
            }
        }
        found.extend(faults);
    }
}

fn entry(text: &str, line: usize, upto: usize) -> Entry {
    let (rule, reason) = text.split_once(':').unwrap_or((text, ""));
    Entry { rule: rule.trim().to_owned(), reason: reason.trim().to_owned(), line, upto }
}
