//! Values as templates see them: JSON, and what Go would know of it by its type.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

/// What Go knows by their types of the objects in a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Fields that are maps, with the zero value of their elements. All other objects are structures.
    pub(crate) maps: &'static [(&'static str, Zero)],
    /// Fields that are left out when they have their zero value.
    pub(crate) optional: &'static [(&'static str, Zero)],
}

/// A type's zero value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zero {
    Nil,
    Text,
    List,
    Map,
}

impl Zero {
    fn value(self) -> Value {
        match self {
            Zero::Nil => Value::Null,
            Zero::Text => Value::String(String::new()),
            Zero::List => Value::Array(Vec::new()),
            Zero::Map => Value::Object(Map::new()),
        }
    }
}

impl Shape {
    /// The zero value of the elements of `field`, if it is a map.
    pub(super) fn element(&self, field: &str) -> Option<Zero> {
        find(self.maps, field)
    }
}

fn find(list: &[(&str, Zero)], field: &str) -> Option<Zero> {
    list.iter().find(|(name, _)| *name == field).map(|(_, zero)| *zero)
}

/// A value in a template.
#[derive(Debug, Clone)]
pub(super) struct Data<'d> {
    /// `None` for a key that a map has not, which prints `<no value>`.
    pub(super) value: Option<Cow<'d, Value>>,
    /// The zero value of a map's elements; `None` for all but maps.
    pub(super) element: Option<Zero>,
}

impl<'d> Data<'d> {
    pub(super) const MISSING: Self = Data {
        value: None,
        element: None,
    };

    pub(super) fn borrowed(value: &'d Value) -> Self {
        Data {
            value: Some(Cow::Borrowed(value)),
            element: None,
        }
    }

    pub(super) fn owned(value: impl Into<Value>) -> Self {
        Data {
            value: Some(Cow::Owned(value.into())),
            element: None,
        }
    }

    /// The value; null for a key that is missing.
    pub(super) fn json(&self) -> &Value {
        self.value.as_deref().unwrap_or(&Value::Null)
    }

    pub(super) fn is_nil(&self) -> bool {
        self.json().is_null()
    }

    pub(super) fn is_map(&self) -> bool {
        self.element.is_some()
    }

    /// What the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.json() {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) if self.is_map() => "a map",
            Value::Object(_) => "a structure",
        }
    }

    /// Whether the value is neither missing nor empty; a structure never is.
    pub(super) fn is_true(&self) -> bool {
        match self.json() {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(object) => !self.is_map() || !object.is_empty(),
        }
    }

    /// The part of an array or object that `pick` finds.
    fn part(&self, pick: impl for<'v> FnOnce(&'v Value) -> Option<&'v Value>, element: Option<Zero>) -> Option<Self> {
        let value = match self.value.as_ref()? {
            Cow::Borrowed(value) => Cow::Borrowed(pick(value)?),
            Cow::Owned(value) => Cow::Owned(pick(value)?.clone()),
        };
        Some(Data {
            value: Some(value),
            element,
        })
    }

    /// The field `name`, as `.name` finds it.
    pub(super) fn field(&self, name: &str, shape: &Shape) -> Result<Self, String> {
        let Value::Object(object) = self.json() else {
            return Err(format!("{} has no field {name:?}", self.kind()));
        };
        if self.is_map() {
            let found = self.part(|value| value.get(name), None);
            return Ok(found.unwrap_or(Data::MISSING));
        }
        let alike = || object.keys().find(|key| key.eq_ignore_ascii_case(name));
        let key = object.get_key_value(name).map(|(key, _)| key).or_else(alike);
        if let Some(key) = key {
            let element = shape.element(key);
            return Ok(self.part(|value| value.get(key), element).unwrap_or(Data::MISSING));
        }
        match find(shape.optional, name) {
            Some(zero) => Ok(Data {
                value: Some(Cow::Owned(zero.value())),
                element: shape.element(name),
            }),
            None => {
                let known = object.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(format!("there is no field {name:?}; there are {known}"))
            }
        }
    }

    /// The element at `key`, as `index` finds it.
    pub(super) fn index(&self, key: &Data, shape: &Shape) -> Result<Self, String> {
        match (self.json(), key.json()) {
            (Value::Object(object), Value::String(key)) => match self.element {
                Some(zero) => Ok(self
                    .part(|value| value.get(key), None)
                    .unwrap_or_else(|| Data::owned(zero.value()))),
                None if object.contains_key(key) => {
                    let element = shape.element(key);
                    Ok(self.part(|value| value.get(key), element).unwrap_or(Data::MISSING))
                }
                None => Err(format!("there is no field {key:?}")),
            },
            (Value::Array(list), Value::Number(number)) => {
                let place = number.as_u64().and_then(|place| usize::try_from(place).ok());
                let found = place.and_then(|place| self.part(|value| value.get(place), None));
                found.ok_or_else(|| format!("index {number} is out of range: there are {} elements", list.len()))
            }
            (Value::String(text), Value::Number(number)) => {
                let place = number.as_u64().and_then(|place| usize::try_from(place).ok());
                let byte = place.and_then(|place| text.as_bytes().get(place));
                let outside = || format!("index {number} is out of range: the text has {} bytes", text.len());
                Ok(Data::owned(*byte.ok_or_else(outside)?))
            }
            _ => Err(format!("{} cannot be indexed with {}", self.kind(), key.kind())),
        }
    }

    /// The keys and elements that `range` goes through; a map's in the order of its keys.
    pub(super) fn elements(&self, shape: &Shape) -> Result<Vec<(Self, Self)>, String> {
        match self.json() {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => Ok((0..list.len())
                .filter_map(|place| Some((Data::owned(place), self.part(|value| value.get(place), None)?)))
                .collect()),
            Value::Object(object) => {
                let mut keys: Vec<&String> = object.keys().collect();
                if self.is_map() {
                    keys.sort_unstable();
                }
                let element = |key: &str| if self.is_map() { None } else { shape.element(key) };
                let pairs = keys.into_iter().filter_map(|key| {
                    let value = self.part(|value| value.get(key), element(key))?;
                    Some((Data::owned(key.as_str()), value))
                });
                Ok(pairs.collect())
            }
            _ => Err(format!("range cannot go through {}", self.kind())),
        }
    }

    /// How two values compare, as `eq` and `lt` have it.
    pub(super) fn compare(&self, other: &Data) -> Result<Ordering, String> {
        match (self.json(), other.json()) {
            (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
                (Some(a), Some(b)) => Ok(a.cmp(&b)),
                // JSON has no number that is none.
                _ => Ok(a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)),
            },
            (Value::Array(_) | Value::Object(_), _) => Err(format!("{} cannot be compared", self.kind())),
            (_, Value::Array(_) | Value::Object(_)) => Err(format!("{} cannot be compared", other.kind())),
            _ => Err(format!("{} and {} cannot be compared", self.kind(), other.kind())),
        }
    }
}
