//! What the program says of itself.

use super::{CliError, output};

pub(super) fn openapi() -> Result<(), CliError> {
    output::json(&tenantry::openapi())
}

pub(super) fn errors() -> Result<(), CliError> {
    output::print(tenantry::error_reference().trim_end())
}
