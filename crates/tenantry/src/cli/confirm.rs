//! Confirmation of what destroys.

use std::io::{IsTerminal as _, Write as _, stdin};

use clap::Args;

use super::CliError;

/// The flag that confirms beforehand.
#[derive(Debug, Args)]
pub(super) struct Confirm {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Asks for a word that shows what is meant. Without a terminal to ask at, `--yes` is needed.
    pub(super) fn word(&self, question: &str, word: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !stdin().is_terminal() {
            return Err(CliError::not_confirmed(question).hint("pass `--yes` to confirm without being asked"));
        }
        let mut answer = String::new();
        write!(std::io::stderr(), "{question}\ntype `{word}` to go on: ")?;
        stdin().read_line(&mut answer)?;
        if answer.trim() == word { Ok(()) } else { Err(CliError::not_confirmed("not confirmed; nothing was changed")) }
    }
}
