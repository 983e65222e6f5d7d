//! Reading JSON objects field by field.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value};

/// The fields of a JSON object; `null` is as good as no field.
pub(super) struct Fields<'v> {
    /// What the object is, for error messages.
    name: &'v str,
    map: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    /// The fields of `value`, which must be an object.
    pub(super) fn of(name: &'v str, value: &'v Value) -> Result<Self> {
        let map = value.as_object().with_context(|| format!("{name} is no JSON object"))?;
        Ok(Fields { name, map })
    }

    /// The names of all fields.
    pub(super) fn keys(&self) -> HashSet<String> {
        self.map.keys().cloned().collect()
    }

    /// The field's value.
    pub(super) fn get(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The value of a field that must be there.
    pub(super) fn required(&self, key: &str) -> Result<&'v Value> {
        self.get(key)
            .with_context(|| format!("missing field `{key}` in {}", self.name))
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'v str>> {
        self.get(key)
            .map(|value| value.as_str().ok_or_else(|| self.wrong(key, "a text", value)))
            .transpose()
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, key: &str) -> Result<String> {
        self.required(key)?;
        Ok(self.text(key)?.unwrap_or_default().to_owned())
    }

    /// `true` or `false`, which must be there.
    pub(super) fn flag(&self, key: &str) -> Result<bool> {
        let value = self.required(key)?;
        value.as_bool().ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// A text with a meaning.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>> {
        self.text(key)?.map(|text| self.parse(key, text)).transpose()
    }

    /// A list of anything.
    pub(super) fn list(&self, key: &str) -> Result<Option<&'v Vec<Value>>> {
        self.get(key)
            .map(|value| value.as_array().ok_or_else(|| self.wrong(key, "a list", value)))
            .transpose()
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let texts = list.iter().map(|item| match item.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.wrong(key, "a list of texts", item)),
        });
        texts.collect::<Result<_>>().map(Some)
    }

    /// A list of texts with a meaning.
    pub(super) fn parsed_list<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<Vec<T>>> {
        let Some(texts) = self.texts(key)? else { return Ok(None) };
        let parsed = texts.iter().map(|text| self.parse(key, text));
        parsed.collect::<Result<_>>().map(Some)
    }

    /// An object all whose values are texts.
    pub(super) fn text_map(&self, key: &str) -> Result<Option<Map<String, Value>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let map = value.as_object().filter(|map| map.values().all(Value::is_string));
        map.cloned()
            .map(Some)
            .ok_or_else(|| self.wrong(key, "an object of texts", value))
    }

    fn parse<T: FromStr<Err: Display>>(&self, key: &str, text: &str) -> Result<T> {
        text.parse()
            .map_err(|error| anyhow!("invalid {key} {text:?} in {}: {error}", self.name))
    }

    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> anyhow::Error {
        anyhow!("field `{key}` in {} must be {wanted}, and is {found}", self.name)
    }
}
