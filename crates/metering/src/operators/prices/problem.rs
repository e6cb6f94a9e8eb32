use tenantry_http::Problem;

use crate::codes;
use crate::prices::{LoadError, PricesError, RepriceError};

impl From<PricesError> for Problem {
    fn from(error: PricesError) -> Self {
        match error {
            PricesError::Database(error) => error.into(),
            PricesError::Catalogue { id, flaws } => {
                tracing::error!(target: "tenantry::prices", id, %flaws, "the loaded catalogue cannot be read by this program");
                Self::of(&codes::INVALID_CATALOGUE)
                    .detail("the catalogue that is loaded is not one for this program: load another")
            }
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Invalid(flaws) => {
                let problem = Self::of(&codes::INVALID_CATALOGUE).with("flaws", &flaws.0);
                flaws.0.iter().fold(problem, |problem, flaw| problem.pointer("/catalogue", &flaw.to_string()))
            }
            LoadError::Prices(error) => error.into(),
        }
    }
}

impl From<RepriceError> for Problem {
    fn from(error: RepriceError) -> Self {
        match error {
            RepriceError::Prices(error) => error.into(),
            RepriceError::Place(error) => {
                let detail = error.to_string();
                Self::of(&codes::VALIDATION_FAILED).pointer("/after", &detail).detail(detail)
            }
        }
    }
}
