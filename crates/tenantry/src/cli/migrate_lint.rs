//! `tenantry migrate lint`.

use std::path::{Path, PathBuf};

use clap::Args;
use tenantry::lint::{self, Finding, Severity};
use tenantry_postgres::migrate::Scope;

use super::output::{self, print};
use super::{CliError, Output};

/// Arguments of `migrate lint`.
#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// Only these files, such as those of a change
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The directory of the set; the files' directory where files are given, else `migrations/tenant`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Which set it is: `registry`, `analytics` or `tenant`
    #[arg(long, value_name = "SET", default_value = "tenant")]
    scope: Scope,
    /// Also print what is allowed, with the reasons
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &LintArgs, output: Output) -> Result<(), CliError> {
    let directory = args
        .dir
        .clone()
        .or_else(|| args.files.first().and_then(|file| file.parent()).map(Path::to_owned))
        .unwrap_or_else(|| PathBuf::from("migrations/tenant"));
    let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
    let mut names = Vec::new();
    for file in &args.files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !directory.join(&name).is_file() {
            return Err(CliError::usage(format!("`{name}` is not in `{}`", directory.display())));
        }
        names.push(name);
    }
    let found = lint::directory(args.scope, &directory, &names).map_err(|error| CliError::usage(error.to_string()))?;
    let wanting = found.iter().filter(|finding| finding.counts()).count();
    let shown: Vec<&Finding> = found.iter().filter(|finding| args.all || finding.allowed.is_none()).collect();
    if output == Output::Json {
        output::json(&shown)?;
    } else {
        shown.iter().try_for_each(|finding| text(&directory, finding))?;
        if shown.is_empty() {
            print("nothing found")?;
        }
    }
    match wanting {
        0 => Ok(()),
        1 => Err(CliError::lint("1 finding")),
        more => Err(CliError::lint(format!("{more} findings"))),
    }
    .map_err(|error| error.hint("with a reason, `-- tenantry: allow RULE: REASON` before a statement allows it"))
}

fn text(directory: &Path, finding: &Finding) -> Result<(), CliError> {
    let path = directory.join(&finding.file);
    let word = match (&finding.allowed, finding.severity) {
        (Some(_), _) => "allowed",
        (None, Severity::Error) => "error",
        (None, Severity::Warning) => "warning",
    };
    print(&format!("{}:{}: {word}: {}", path.display(), finding.line.max(1), finding.rule))?;
    print(&format!("    why:   {}", finding.why))?;
    match &finding.allowed {
        Some(reason) => print(&format!("    allowed: {reason}")),
        None if finding.safer.is_empty() => Ok(()),
        None => print(&format!("    safer: {}", finding.safer)),
    }
}
