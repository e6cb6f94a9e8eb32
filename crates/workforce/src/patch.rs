use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One member of a merge patch (RFC 7396): absent keeps the value, `null` clears it, anything else sets it.
///
/// An `Option` cannot tell absent from `null`; a field of this type with `#[serde(default)]` can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The member was absent.
    #[default]
    Keep,
    /// The member was `null`.
    Clear,
    /// The member had a value.
    Set(T),
}

impl<T> Patch<T> {
    /// The new value, if there is one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// Whether the patch names this member at all.
    pub const fn is_named(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// Whether the patch says nothing of this member, so that it is not sent: what `skip_serializing_if` asks for.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T: Clone> Patch<T> {
    /// Applies the patch to a nullable value.
    pub fn apply(&self, target: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *target = None,
            Self::Set(value) => *target = Some(value.clone()),
        }
    }

    /// Applies the patch to a value that always exists; a `null` was refused by validation and changes nothing here.
    pub fn apply_required(&self, target: &mut T) {
        if let Self::Set(value) = self {
            target.clone_from(value);
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

/// As it is sent: `null` or the value. An absent member cannot be sent, so fields of this type have
/// `#[serde(skip_serializing_if = "Patch::is_absent")]`.
impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<T> From<T> for Patch<T> {
    fn from(value: T) -> Self {
        Self::Set(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Body {
        #[serde(default, skip_serializing_if = "Patch::is_absent")]
        note: Patch<String>,
    }

    #[test]
    fn tells_absent_from_null() {
        let read = |json: &str| serde_json::from_str::<Body>(json).unwrap().note;
        assert_eq!(read("{}"), Patch::Keep);
        assert_eq!(read(r#"{"note":null}"#), Patch::Clear);
        assert_eq!(read(r#"{"note":"x"}"#), Patch::Set("x".to_owned()));
    }

    #[test]
    fn is_sent_as_it_is_read() {
        for json in ["{}", r#"{"note":null}"#, r#"{"note":"x"}"#] {
            let body: Body = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&body).unwrap(), json);
        }
    }

    #[test]
    fn applies_to_nullable_values() {
        let mut value = Some(1);
        Patch::Keep.apply(&mut value);
        assert_eq!(value, Some(1));
        Patch::Clear.apply(&mut value);
        assert_eq!(value, None);
        Patch::Set(2).apply(&mut value);
        assert_eq!(value, Some(2));
    }
}
