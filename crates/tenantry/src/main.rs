//! The command line of Tenantry.

mod cli;
mod dev;
mod logging;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
