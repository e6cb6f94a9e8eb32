//! A body from the command line.

use std::io::Read as _;

use serde_json::{Map, Value};

use super::CliError;

/// Members of a body.
pub(super) struct Fields;

impl Fields {
    /// The body: `data` with the fields over it, or nothing when neither is given.
    pub(super) fn read(data: Option<&str>, fields: &[String]) -> Result<Option<Value>, CliError> {
        let given = data.map(text).transpose()?;
        let given = given.map(|text| {
            serde_json::from_str::<Value>(&text)
                .map_err(|error| CliError::usage(format!("`--data` is not JSON: {error}")))
        });
        let given = given.transpose()?;
        if fields.is_empty() {
            return Ok(given);
        }
        let mut body = match given {
            None => Map::new(),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(CliError::usage("fields can be put over an object only, and `--data` is none")),
        };
        for field in fields {
            let (name, value) = member(field)?;
            body.insert(name, value);
        }
        Ok(Some(Value::Object(body)))
    }
}

/// `name=text` or `name:=json`; the first of the two signs counts.
fn member(field: &str) -> Result<(String, Value), CliError> {
    let wrong = |what: &str| {
        CliError::usage(format!("`{field}` is no field: {what}"))
            .hint("fields look like `name=text` or `version:=3`, and a whole body goes into `--data`")
    };
    let (name, value) = field.split_once('=').ok_or_else(|| wrong("it has no `=`"))?;
    let (name, value) = match name.strip_suffix(':') {
        None => (name, Value::String(value.to_owned())),
        Some(name) => {
            (name, serde_json::from_str(value).map_err(|error| wrong(&format!("`{value}` is not JSON, {error}")))?)
        }
    };
    if name.is_empty() {
        return Err(wrong("it has no name"));
    }
    Ok((name.to_owned(), value))
}

fn text(data: &str) -> Result<String, CliError> {
    if data == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    match data.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| CliError::usage(format!("cannot read the file `{file}` of `--data`: {error}"))),
        None => Ok(data.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(data: Option<&str>, fields: &[&str]) -> Option<Value> {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        Fields::read(data, &fields).ok().flatten()
    }

    #[test]
    fn fields_are_texts_or_json() {
        let body = read(None, &["title=a=b", "version:=3", "capabilities:=[\"mail\"]", "deadline:=null", "code:a=1"]);
        let expected =
            json!({ "title": "a=b", "version": 3, "capabilities": ["mail"], "deadline": null, "code:a": "1" });
        assert_eq!(body, Some(expected));
    }

    #[test]
    fn fields_go_over_the_data() {
        assert_eq!(read(Some(r#"{"a":1,"b":2}"#), &["b:=3"]), Some(json!({ "a": 1, "b": 3 })));
        assert_eq!(read(Some("[1]"), &[]), Some(json!([1])), "data may be anything by itself");
        assert_eq!(read(None, &[]), None);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["title", "=x", ":=1", "version:=x"] {
            assert_eq!(read(None, &[bad]), None, "{bad}");
        }
        assert_eq!(read(Some("[1]"), &["a=b"]), None);
        assert_eq!(read(Some("{"), &[]), None);
    }
}
