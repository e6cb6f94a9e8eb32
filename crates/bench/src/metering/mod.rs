//! What it costs to count every call, and to ask about them.

mod disk;
mod gateway;
mod ingest;
mod litellm;
mod month;
mod upstream;

use anyhow::ensure;

use crate::report::Report;
use crate::{Options, access_log};

/// Name, and what is measured.
const PARTS: [&str; 3] = ["gateway", "ingest", "month"];

pub(super) async fn measure(options: &Options) -> anyhow::Result<Report> {
    ensure!(PARTS.iter().any(|part| options.wants(part)), "`--operations` names none that there is");
    let mut report = Report::new("metering");
    let log = access_log::start(&options.out)?;
    report.fact("log", log);
    if options.wants("gateway") {
        Box::pin(gateway::measure(options, &mut report)).await?;
    }
    if options.wants("ingest") {
        Box::pin(ingest::measure(options, &mut report)).await?;
    }
    if options.wants("month") {
        Box::pin(month::measure(options, &mut report)).await?;
    }
    Ok(report)
}
