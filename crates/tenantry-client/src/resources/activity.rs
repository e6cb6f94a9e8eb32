use workforce::ActivityId;
use workforce::activity::{Activity, ActivityFilter, ActivityOrder, CreateActivity};

use crate::{Client, Collection, Create, Listed, Resource};

/// The activity log.
#[derive(Debug)]
pub enum Activities {}

impl Resource for Activities {
    const PATH: &'static str = "/v1/activity";
    type Id = ActivityId;
    type Record = Activity;
}

impl Listed for Activities {
    type Filter = ActivityFilter;
    type Order = ActivityOrder;
}

impl Create for Activities {
    type New = CreateActivity;
}

impl Client {
    /// The activity log.
    #[must_use]
    pub fn activity(&self) -> Collection<Activities> {
        Collection::new(self.clone())
    }
}
