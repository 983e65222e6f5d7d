//! Reading keys of a configuration. `null` is as good as missing everywhere, as for the reference plug-ins.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

use super::error::CniError;

/// An object of a configuration, and where in it it stands, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Value,
    /// The key that has it; empty for the configuration itself.
    place: &'a str,
}

impl<'a> Fields<'a> {
    /// Those of which nothing is given.
    pub(super) fn missing() -> Self {
        Fields {
            object: &Value::Null,
            place: "",
        }
    }

    /// The keys of `object`, itself the value of key `place`.
    ///
    /// # Errors
    /// When it is neither an object nor `null`.
    pub(super) fn of(object: &'a Value, place: &'a str) -> Result<Self, CniError> {
        if object.is_object() || object.is_null() {
            Ok(Fields { object, place })
        } else {
            Err(CniError::config(place, "want an object"))
        }
    }

    /// The key as messages have it.
    fn path(&self, key: &str) -> String {
        if self.place.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.place)
        }
    }

    /// The error that the value of `key` is wrong.
    pub(super) fn error(&self, key: &str, reason: impl Display) -> CniError {
        CniError::config(&self.path(key), reason)
    }

    /// Whether there is any key.
    pub(super) fn is_given(&self) -> bool {
        self.object.as_object().is_some_and(|object| !object.is_empty())
    }

    /// The value of `key`.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// The object of `key`, whose keys are all missing if it is.
    ///
    /// # Errors
    /// When it is no object.
    pub(super) fn object(&self, key: &'a str) -> Result<Fields<'a>, CniError> {
        Fields::of(self.value(key).unwrap_or(&Value::Null), key)
    }

    /// The text of `key`.
    ///
    /// # Errors
    /// When it is no text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, CniError> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.error(key, "want a string"));
        self.value(key).map(text).transpose()
    }

    /// What the text of `key` is read as; the empty text is as good as none.
    ///
    /// # Errors
    /// When it is no text, or not of the form.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, CniError> {
        let text = self.text(key)?.filter(|text| !text.is_empty());
        let read = |text: &str| {
            text.parse()
                .map_err(|error| self.error(key, format!("{text:?}: {error}")))
        };
        text.map(read).transpose()
    }

    /// Whether `key` is set; `false` if missing.
    ///
    /// # Errors
    /// When it is neither `true` nor `false`.
    pub(super) fn flag(&self, key: &str) -> Result<bool, CniError> {
        Ok(self.maybe_flag(key)?.unwrap_or(false))
    }

    /// Whether `key` is set.
    ///
    /// # Errors
    /// When it is neither `true` nor `false`.
    pub(super) fn maybe_flag(&self, key: &str) -> Result<Option<bool>, CniError> {
        let flag = |value: &Value| value.as_bool().ok_or_else(|| self.error(key, "want true or false"));
        self.value(key).map(flag).transpose()
    }

    /// The number of `key`, which is at most `max`.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn number(&self, key: &str, max: u64) -> Result<Option<u64>, CniError> {
        let number = |value: &Value| {
            let number = value.as_u64().filter(|number| *number <= max);
            number.ok_or_else(|| self.error(key, format!("want a number from 0 to {max}")))
        };
        self.value(key).map(number).transpose()
    }

    /// The members of the list of `key`; none if missing.
    ///
    /// # Errors
    /// When it is no list.
    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], CniError> {
        let list = |value: &'a Value| value.as_array().ok_or_else(|| self.error(key, "want a list"));
        Ok(self.value(key).map(list).transpose()?.map_or(&[], Vec::as_slice))
    }

    /// The texts of the list of `key`.
    ///
    /// # Errors
    /// When it is no list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, CniError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = self.list(key)?.iter().map(text).collect();
        texts.ok_or_else(|| self.error(key, "want a list of strings"))
    }

    /// What the texts of the list of `key` are read as.
    ///
    /// # Errors
    /// When it is no list of texts, or one is not of the form.
    pub(super) fn parsed_list<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Vec<T>, CniError> {
        let read = |text: &String| {
            text.parse()
                .map_err(|error| self.error(key, format!("{text:?}: {error}")))
        };
        self.texts(key)?.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_there_is_read_and_what_is_wrong_is_named() {
        let json = json!({"a": "x", "n": 7, "f": true, "nothing": null, "l": ["10.0.0.1"], "o": {"n": -1}});
        let fields = Fields::of(&json, "").unwrap();
        assert_eq!(fields.text("a"), Ok(Some("x")));
        assert_eq!(fields.text("nothing"), Ok(None));
        assert_eq!((fields.number("n", 7), fields.flag("f")), (Ok(Some(7)), Ok(true)));
        assert_eq!(
            (fields.number("missing", 7), fields.flag("missing")),
            (Ok(None), Ok(false))
        );
        assert_eq!(fields.parsed_list::<std::net::IpAddr>("l").unwrap().len(), 1);
        assert!(fields.list("missing").unwrap().is_empty());
        for (error, words) in [
            (fields.number("n", 6).unwrap_err(), "\"n\": want a number from 0 to 6"),
            (fields.flag("a").unwrap_err(), "\"a\": want true or false"),
            (fields.object("o").unwrap().number("n", 6).unwrap_err(), "\"o.n\""),
            (fields.object("a").unwrap_err(), "\"a\": want an object"),
            (fields.texts("n").unwrap_err(), "\"n\": want a list"),
        ] {
            assert!(error.code == 7 && error.message.contains(words), "{error:?}");
        }
    }
}
