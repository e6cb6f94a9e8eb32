use metering::provider_call::{ProviderCall, ProviderCallDetail, ProviderCallFilter, RecordCall, RecordedCall};
use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;
use workforce::BulkResult;

use crate::filter::Filter as _;
use crate::{Call, Client, List};

const PATH: &str = "/v1/provider-calls";

/// Calls to providers: recorded where they were not made through the gateway, and read.
#[derive(Debug)]
pub struct ProviderCalls {
    client: Client,
}

/// A list of calls, the latest first, which is its one order.
pub type ProviderCallList = List<ProviderCall>;

#[derive(Serialize)]
struct Items<'a> {
    items: &'a [RecordCall],
}

impl Client {
    /// Calls to providers.
    #[must_use]
    pub fn provider_calls(&self) -> ProviderCalls {
        ProviderCalls { client: self.clone() }
    }
}

impl ProviderCalls {
    /// Records a call; repeated, also by a lost answer, it is counted once.
    pub fn record(&self, call: &RecordCall) -> Call<RecordedCall> {
        self.client.call(Method::POST, PATH).body(call)
    }

    /// Records up to 1,000 calls, each with a result of its own.
    pub fn record_many(&self, calls: &[RecordCall]) -> Call<BulkResult<RecordedCall>> {
        self.client.call(Method::POST, format!("{PATH}/batch")).body(&Items { items: calls })
    }

    /// Those that pass the filter. What was recorded just now is among them within seconds.
    pub fn list(&self, filter: &ProviderCallFilter) -> ProviderCallList {
        List::new(self.client.clone(), PATH.to_owned(), filter.parameters())
    }

    /// One, with how its cost comes about.
    pub fn get(&self, id: Uuid) -> Call<ProviderCallDetail> {
        self.client.call(Method::GET, format!("{PATH}/{id}"))
    }
}
