//! `tenantry audit verify`.

use std::path::Path;

use serde::Serialize;
use tenantry::Settings;
use tenantry_postgres::{Anchor, AuditTrail, ChainId, Verdict};

use super::audit::{Told, VerifyArgs, write_anchors};
use super::output::{self, print};
use super::{CliError, Global, Output, say};

/// What a run found.
#[derive(Debug, Serialize)]
struct Report {
    chains: usize,
    events: u64,
    /// The head of the one chain that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Anchor>,
    flawed: Vec<Verdict>,
}

pub(super) async fn run(
    args: VerifyArgs,
    global: &Global,
    settings: &Settings,
    trail: &AuditTrail,
) -> Result<(), CliError> {
    let mut anchors = args.anchors.clone();
    if let Some(file) = &args.anchors_file {
        anchors.extend(read_anchors(file)?);
    }
    let one = args.one.chain(global, settings).await?;
    let chains = match one {
        Some(chain) => vec![chain],
        None => all(trail, &anchors).await?,
    };
    let mut report = Report { chains: chains.len(), events: 0, head: None, flawed: Vec::new() };
    let mut heads = Vec::new();
    let mut told = Told::new();
    for (done, chain) in chains.iter().enumerate() {
        let before = report.events;
        let mut progress = |events: u64| {
            told.say(|| {
                let (total, flawed) = (report.chains, report.flawed.len());
                format!("{done} of {total} chains, {} events, {flawed} chains with a flaw", before + events)
            });
        };
        progress(0);
        let verdict = trail.verify(*chain, &anchors, progress).await?;
        report.events += verdict.events;
        if let Some(flaw) = &verdict.flaw {
            say(format!("{chain}: {flaw}"));
            report.flawed.push(verdict);
        } else {
            heads.extend(verdict.head);
        }
    }
    if one.is_some() {
        report.head = heads.first().cloned();
    }
    if let Some(path) = &args.write_anchors {
        write_anchors(path, &heads)?;
    }
    tell(global, &report)?;
    if report.flawed.is_empty() {
        return Ok(());
    }
    let found = format!("{} of {} chains are not as they were written", report.flawed.len(), report.chains);
    Err(CliError::tampered(found).hint("docs/guides/audit.md says how to go on"))
}

/// All chains, also such that only an anchor knows.
async fn all(trail: &AuditTrail, anchors: &[Anchor]) -> Result<Vec<ChainId>, CliError> {
    let mut chains = trail.chains().await?;
    chains.extend(anchors.iter().map(|anchor| anchor.chain));
    chains.sort_unstable();
    chains.dedup();
    Ok(chains)
}

fn tell(global: &Global, report: &Report) -> Result<(), CliError> {
    if global.output == Output::Json {
        return output::json(report);
    }
    if let Some(head) = &report.head {
        print(&format!("head {head}"))?;
    }
    if report.flawed.is_empty() {
        print(&format!("{} events in {} chains are as they were written", report.events, report.chains))?;
    }
    Ok(())
}

fn read_anchors(file: &Path) -> Result<Vec<Anchor>, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::usage(format!("cannot read `{}`: {error}", file.display())))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            line.parse().map_err(|error| CliError::usage(format!("`{}`, line {}: {error}", file.display(), at + 1)))
        })
        .collect()
}
