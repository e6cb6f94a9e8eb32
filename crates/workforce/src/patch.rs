use serde::{Deserialize, Deserializer};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
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
