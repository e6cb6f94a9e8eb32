//! Sparse lists: only the members that the caller wants (`fields=id,title`).

use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};

/// A record that lists can show in part.
pub trait Record: Serialize {
    /// All members, in the order in which they are sent.
    const FIELDS: &'static [&'static str];
}

/// Some members of a record, as `fields` names them: separated by commas.
#[derive(Debug, Clone)]
pub struct Fields<T> {
    names: Vec<&'static str>,
    of: PhantomData<fn() -> T>,
}

impl<T> Fields<T> {
    pub(crate) fn into_names(self) -> Vec<&'static str> {
        self.names
    }
}

impl<'de, T: Record> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wanted: Vec<&str> = text.split(',').collect();
        if let Some(unknown) = wanted.iter().find(|name| !T::FIELDS.contains(*name)) {
            let unknown: String = unknown.chars().take(64).collect();
            return Err(D::Error::custom(format!("`{unknown}` is not a field; fields are {}", T::FIELDS.join(", "))));
        }
        let names = T::FIELDS.iter().copied().filter(|name| wanted.contains(name)).collect();
        Ok(Self { names, of: PhantomData })
    }
}

/// The schema of the parameter `fields`.
pub fn parameter<T: Record>() -> impl Into<RefOr<Schema>> {
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(T::FIELDS.iter().copied()));
    ArrayBuilder::new().items(name).min_items(Some(1)).build()
}

/// The schema of a list's rows: those of the record, none of which must be there.
pub(crate) fn rows<T: PartialSchema>() -> impl Into<RefOr<Schema>> {
    let mut row = T::schema();
    if let RefOr::T(Schema::Object(object)) = &mut row {
        object.required.clear();
    }
    ArrayBuilder::new().items(row).description(Some("The rows, in the order asked for.")).build()
}

/// A record of which only some members are sent.
pub(crate) struct Part<'a, T> {
    pub(crate) record: &'a T,
    pub(crate) fields: &'a [&'static str],
}

impl<T: Serialize> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = serde_json::to_value(self.record).map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for name in self.fields {
            map.serialize_entry(name, &whole[*name])?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Serialize)]
    struct Note {
        id: u8,
        text: &'static str,
        tag: Option<u8>,
    }

    impl Record for Note {
        const FIELDS: &'static [&'static str] = &["id", "text", "tag"];
    }

    fn fields(text: &str) -> Result<Vec<&'static str>, String> {
        serde_json::from_value::<Fields<Note>>(json!(text)).map(Fields::into_names).map_err(|e| e.to_string())
    }

    #[test]
    fn members_come_once_and_in_their_order() {
        assert_eq!(fields("tag,id,tag").unwrap(), ["id", "tag"]);
        let record = &Note { id: 1, text: "x", tag: None };
        assert_eq!(serde_json::to_string(&Part { record, fields: &["id", "tag"] }).unwrap(), r#"{"id":1,"tag":null}"#);
    }

    #[test]
    fn what_is_not_a_member_is_refused_with_what_is() {
        for bad in ["", "id,", "titel", "id, text", "ID"] {
            assert!(fields(bad).unwrap_err().ends_with("is not a field; fields are id, text, tag"), "{bad:?}");
        }
    }
}
