//! The functions of templates: Go's own, and those that Docker adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::data::{Data, Shape};
use super::format::{display, json, print, print_line, printf};

/// The most that `pad` adds, in characters.
const PAD_MAX: u64 = 1_000_000;

macro_rules! functions {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A function of templates.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function {
            $($variant),*
        }

        impl Function {
            const ALL: &'static [Function] = &[$(Function::$variant),*];

            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Function::$variant => $name),*
                }
            }
        }
    };
}

functions! {
    And "and", Or "or", Not "not",
    Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge",
    Index "index", Slice "slice", Len "len",
    Print "print", Printf "printf", Println "println",
    Json "json", Join "join", Split "split",
    Lower "lower", Upper "upper", Title "title", Pad "pad", Truncate "truncate",
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|function| function.name() == name)
    }

    pub(super) fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|function| function.name()).collect()
    }

    /// Whether the arguments behind `value` are of no matter.
    pub(super) fn is_settled_by(self, value: &Data) -> bool {
        match self {
            Function::And => !value.is_true(),
            Function::Or => value.is_true(),
            _ => false,
        }
    }

    /// How many arguments it takes, at least and at most.
    fn arity(self) -> (usize, usize) {
        match self {
            Function::Print | Function::Println => (0, usize::MAX),
            Function::And | Function::Or | Function::Index | Function::Printf => (1, usize::MAX),
            Function::Eq => (2, usize::MAX),
            Function::Slice => (1, 3),
            Function::Not | Function::Len | Function::Json => (1, 1),
            Function::Lower | Function::Upper | Function::Title => (1, 1),
            Function::Pad => (3, 3),
            _ => (2, 2),
        }
    }

    fn check_arity(self, given: usize) -> Result<(), String> {
        let (least, most) = self.arity();
        let wanted = match (least, most) {
            _ if (least..=most).contains(&given) => return Ok(()),
            (_, usize::MAX) => format!("at least {least}"),
            _ if least == most => least.to_string(),
            _ => format!("{least} to {most}"),
        };
        Err(format!("wants {wanted} arguments, and has {given}"))
    }

    /// Its value.
    pub(super) fn call<'d>(self, arguments: &[Data<'d>], shape: &Shape) -> Result<Data<'d>, String> {
        self.check_arity(arguments.len())?;
        // All functions that look at their first argument have one by now.
        let nothing = Data::MISSING;
        let first = arguments.first().unwrap_or(&nothing);
        let rest = arguments.get(1..).unwrap_or_default();
        Ok(match self {
            // The arguments end with the one that settles it.
            Function::And | Function::Or => arguments.last().cloned().unwrap_or(nothing),
            Function::Not => Data::owned(!first.is_true()),
            Function::Eq => Data::owned(equals_any(first, rest)?),
            Function::Ne => Data::owned(!equals_any(first, rest)?),
            Function::Lt | Function::Le | Function::Gt | Function::Ge => Data::owned(self.orders(first, &rest[0])?),
            Function::Index => rest
                .iter()
                .try_fold(first.clone(), |value, key| value.index(key, shape))?,
            Function::Slice => slice(first, rest)?,
            Function::Len => Data::owned(length(first)?),
            Function::Print => Data::owned(print(arguments, shape)),
            Function::Println => Data::owned(print_line(arguments, shape)),
            Function::Printf => Data::owned(printf(text(first)?, rest, shape)),
            Function::Json => Data::owned(json(first.json())),
            Function::Join => Data::owned(join(first, text(&rest[0])?, shape)?),
            Function::Split => Data::owned(split(text(first)?, text(&rest[0])?)),
            Function::Lower => Data::owned(text(first)?.to_lowercase()),
            Function::Upper => Data::owned(text(first)?.to_uppercase()),
            Function::Title => Data::owned(title(text(first)?)),
            Function::Pad => Data::owned(pad(text(first)?, width(&rest[0])?, width(&rest[1])?)),
            Function::Truncate => Data::owned(truncate(text(first)?, width(&rest[0])?)),
        })
    }

    /// Its value in the heading of a table: what changes a text leaves the heading as it is.
    pub(super) fn call_for_heading<'d>(self, arguments: &[Data<'d>], shape: &Shape) -> Result<Data<'d>, String> {
        match self {
            Function::Json
            | Function::Join
            | Function::Split
            | Function::Lower
            | Function::Upper
            | Function::Title
            | Function::Truncate
            | Function::Index
            | Function::Slice => {
                self.check_arity(arguments.len())?;
                Ok(arguments.first().cloned().unwrap_or(Data::MISSING))
            }
            _ => self.call(arguments, shape),
        }
    }

    fn orders(self, a: &Data, b: &Data) -> Result<bool, String> {
        if matches!(a.json(), Value::Bool(_)) {
            return Err(format!("{} has no order", a.kind()));
        }
        let order = a.compare(b)?;
        Ok(match self {
            Function::Lt => order == Ordering::Less,
            Function::Le => order != Ordering::Greater,
            Function::Gt => order == Ordering::Greater,
            _ => order != Ordering::Less,
        })
    }
}

fn equals_any(value: &Data, others: &[Data]) -> Result<bool, String> {
    for other in others {
        let equal = match (value.is_nil(), other.is_nil()) {
            (false, false) => value.compare(other)? == Ordering::Equal,
            (a, b) => a == b,
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

fn text<'a>(value: &'a Data) -> Result<&'a str, String> {
    value
        .json()
        .as_str()
        .ok_or_else(|| format!("wants a text, and has {}", value.kind()))
}

fn width(value: &Data) -> Result<usize, String> {
    let number = value.json().as_u64().filter(|number| *number <= PAD_MAX);
    number
        .map(|number| number as usize)
        .ok_or_else(|| format!("wants a number from 0 to {PAD_MAX}, and has {}", value.json()))
}

fn length(value: &Data) -> Result<usize, String> {
    match value.json() {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(object) if value.is_map() => Ok(object.len()),
        _ => Err(format!("{} has no length", value.kind())),
    }
}

fn slice<'d>(value: &Data<'d>, bounds: &[Data]) -> Result<Data<'d>, String> {
    let length = match value.json() {
        Value::Array(list) => list.len(),
        Value::String(text) => text.len(),
        _ => return Err(format!("{} cannot be cut", value.kind())),
    };
    let bound = |place: usize, missing: usize| bounds.get(place).map_or(Ok(missing), width);
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    let cut = match value.json() {
        Value::Array(list) => list.get(from..to).map(|part| Data::owned(part.to_vec())),
        Value::String(text) => text.get(from..to).map(Data::owned),
        _ => None,
    };
    cut.ok_or_else(|| format!("cannot cut from {from} to {to}: the length is {length}"))
}

fn join(list: &Data, separator: &str, shape: &Shape) -> Result<String, String> {
    let elements = match list.json() {
        Value::Null => return Ok(String::new()),
        Value::Array(elements) => elements,
        _ => return Err(format!("wants a list, and has {}", list.kind())),
    };
    let texts = elements.iter().map(|element| display(&Data::borrowed(element), shape));
    Ok(texts.collect::<Vec<_>>().join(separator))
}

fn split(text: &str, separator: &str) -> Vec<String> {
    if separator.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(separator).map(str::to_owned).collect()
}

/// Each word with a capital, as Go's `strings.Title` has it.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut titled = String::with_capacity(text.len());
    for character in text.chars() {
        if inside {
            titled.push(character);
        } else {
            titled.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric() || character == '_';
    }
    titled
}

/// Blanks around a text that is not empty.
fn pad(text: &str, before: usize, behind: usize) -> String {
    if text.is_empty() {
        return String::new();
    }
    " ".repeat(before) + text + &" ".repeat(behind)
}

/// As many whole characters as fit in `length` bytes.
fn truncate(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}
