//! Calls to providers as tenants report and read them.

mod lines;
mod record;
mod shown;

pub(crate) use lines::lines;
pub use lines::{CostLine, Per};
pub use record::{MOST_ITEMS, NewCall, RecordCall, RecordCalls, RecordedCall};
pub use shown::{CallAdjustment, ProviderCall, ProviderCallDetail, ProviderCallFilter};
