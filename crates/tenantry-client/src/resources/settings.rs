use reqwest::Method;
use workforce::settings::{Settings, UpdateSettings};

use crate::{Call, Client};

const PATH: &str = "/v1/settings";

/// What a company decides about itself.
#[derive(Debug)]
pub struct SettingsOf {
    client: Client,
}

impl Client {
    /// The company's settings.
    #[must_use]
    pub fn settings(&self) -> SettingsOf {
        SettingsOf { client: self.clone() }
    }
}

impl SettingsOf {
    /// Reads them.
    pub fn get(&self) -> Call<Settings> {
        self.client.call(Method::GET, PATH)
    }

    /// Changes them if they are still at this version.
    pub fn update(&self, version: i64, change: &UpdateSettings) -> Call<Settings> {
        self.client.call(Method::PATCH, PATH).version(version).body(change)
    }
}
