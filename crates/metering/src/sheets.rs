//! What all tables of ours for spreadsheets have in common.

/// A text as a cell. A program for spreadsheets takes one that begins like a formula for a formula, and models and agents are named by whoever
/// makes them; an apostrophe before it makes it text.
pub(crate) fn cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_a_text() {
        assert_eq!(cell("=HYPERLINK(\"https://x.example\")"), "'=HYPERLINK(\"https://x.example\")");
        assert_eq!((cell("gpt-5"), cell("")), ("gpt-5".to_owned(), String::new()));
    }
}
