use metering::statements::{Month, Statement, StatementSummary};

use crate::{Client, Collection, List, Resource};

/// Monthly statements: the closed ones are listed, and of any month there is one to read.
#[derive(Debug)]
pub enum Statements {}

impl Resource for Statements {
    const PATH: &'static str = "/v1/statements";
    type Id = Month;
    type Record = Statement;
}

impl Client {
    /// Monthly statements of what calls cost.
    #[must_use]
    pub fn statements(&self) -> Collection<Statements> {
        Collection::new(self.clone())
    }
}

impl Collection<Statements> {
    /// Lists the closed ones, without their lines.
    pub fn list_closed(&self) -> List<StatementSummary> {
        List::new(self.client.clone(), Statements::PATH.to_owned(), Vec::<(&str, String)>::new())
    }
}
