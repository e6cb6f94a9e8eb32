//! `tenantry metering …`.

use clap::Subcommand;
use tenantry::Settings;

use super::{CliError, Global, metering_reprice};

/// What to do with recorded calls.
#[derive(Debug, Subcommand)]
pub(super) enum MeteringCommand {
    /// Price recorded calls again: those that have no price, or those whose price was another
    Reprice(metering_reprice::RepriceArgs),
}

pub(super) async fn run(command: MeteringCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    match command {
        MeteringCommand::Reprice(args) => metering_reprice::run(args, global, settings).await,
    }
}
