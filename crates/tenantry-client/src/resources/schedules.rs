use reqwest::Method;
use workforce::ScheduleId;
use workforce::schedule::{CreateSchedule, Preview, Schedule, ScheduleFilter, ScheduleOrder, UpdateSchedule};
use workforce::task::Task;

use crate::{Call, Change, Client, Collection, Create, Delete, Listed, Resource};

/// Schedules, which make tasks.
#[derive(Debug)]
pub enum Schedules {}

impl Resource for Schedules {
    const PATH: &'static str = "/v1/schedules";
    type Id = ScheduleId;
    type Record = Schedule;
}

impl Listed for Schedules {
    type Filter = ScheduleFilter;
    type Order = ScheduleOrder;
}

impl Create for Schedules {
    type New = CreateSchedule;
}

impl Change for Schedules {
    type Change = UpdateSchedule;
}

impl Delete for Schedules {}

impl Client {
    /// Schedules.
    #[must_use]
    pub fn schedules(&self) -> Collection<Schedules> {
        Collection::new(self.clone())
    }
}

impl Collection<Schedules> {
    /// Makes the task of a schedule now, beside its runs.
    pub fn run(&self, id: ScheduleId) -> Call<Task> {
        self.at(Method::POST, format!("{id}/run"))
    }

    /// When an expression would be due, in the company's zone unless one is named.
    pub fn preview(&self, cron_expression: &str, time_zone: Option<&str>) -> Call<Preview> {
        let call = self.at(Method::GET, "preview").query("cron_expression", cron_expression);
        time_zone.into_iter().fold(call, |call, zone| call.query("time_zone", zone))
    }
}
