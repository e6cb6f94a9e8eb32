use metering::prices::PriceView;
use metering::{CreatePriceOverride, PriceOverride};
use reqwest::Method;
use uuid::Uuid;

use crate::{Call, Client, List};

const PATH: &str = "/v1/prices";
const OVERRIDES: &str = "/v1/prices/overrides";

/// What calls to providers cost the company.
#[derive(Debug)]
pub struct Prices {
    client: Client,
}

/// A list of price overrides, which has one order.
pub type PriceOverrideList = List<PriceOverride>;

impl Client {
    /// What calls to providers cost the company.
    #[must_use]
    pub fn prices(&self) -> Prices {
        Prices { client: self.clone() }
    }
}

impl Prices {
    /// All prices as they are now, or those of one provider: the company's own first.
    pub fn list(&self, provider: Option<&str>) -> List<PriceView> {
        List::new(self.client.clone(), PATH.to_owned(), provider.map(|provider| ("provider", provider.to_owned())))
    }

    /// The company's own prices, the newest first.
    pub fn overrides(&self) -> PriceOverrideList {
        List::new(self.client.clone(), OVERRIDES.to_owned(), None::<(&str, String)>)
    }

    /// Reads one of them.
    pub fn get_override(&self, id: Uuid) -> Call<PriceOverride> {
        self.client.call(Method::GET, format!("{OVERRIDES}/{id}"))
    }

    /// Sets one.
    pub fn create_override(&self, new: &CreatePriceOverride) -> Call<PriceOverride> {
        self.client.call(Method::POST, OVERRIDES).body(new)
    }

    /// Removes one.
    pub fn delete_override(&self, id: Uuid) -> Call<()> {
        self.client.call(Method::DELETE, format!("{OVERRIDES}/{id}"))
    }
}
