//! How values are written, as Go's fmt does.

use std::fmt::Write;

use serde_json::Value;

use super::data::{Data, Shape};

/// The widest that a verb of `printf` makes its text, in characters.
const WIDTH_MAX: usize = 1_000_000;

/// A value as `{{.}}` prints it.
pub(super) fn display(value: &Data, shape: &Shape) -> String {
    match &value.value {
        None => "<no value>".to_owned(),
        Some(json) => plain(json, value.is_map(), shape),
    }
}

/// A JSON value as Go's `%v` has it: a text without quotes, `[a b]`, `map[k:v]`, and a structure's fields as `{a b}`.
fn plain(value: &Value, is_map: bool, shape: &Shape) -> String {
    written(value, is_map, shape, &|leaf| match leaf {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    })
}

/// A value with its leaves written by `leaf`.
fn written(value: &Value, is_map: bool, shape: &Shape, leaf: &dyn Fn(&Value) -> String) -> String {
    match value {
        Value::Array(list) => {
            let texts = list.iter().map(|element| written(element, false, shape, leaf));
            format!("[{}]", texts.collect::<Vec<_>>().join(" "))
        }
        Value::Object(object) if is_map => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| *key);
            let texts = pairs.into_iter().map(|(key, element)| {
                let key = leaf(&Value::String(key.clone()));
                format!("{key}:{}", written(element, false, shape, leaf))
            });
            format!("map[{}]", texts.collect::<Vec<_>>().join(" "))
        }
        Value::Object(object) => {
            let texts = object
                .iter()
                .map(|(key, field)| written(field, shape.element(key).is_some(), shape, leaf));
            format!("{{{}}}", texts.collect::<Vec<_>>().join(" "))
        }
        _ => leaf(value),
    }
}

/// A value as JSON on one line.
pub(super) fn json(value: &Value) -> String {
    value.to_string()
}

/// As `print`: with blanks between two values neither of which is a text.
pub(super) fn print(values: &[Data], shape: &Shape) -> String {
    let mut text = String::new();
    for (place, value) in values.iter().enumerate() {
        let two = place.checked_sub(1).and_then(|before| values.get(before));
        if two.is_some_and(|before| !before.json().is_string() && !value.json().is_string()) {
            text.push(' ');
        }
        text += &display(value, shape);
    }
    text
}

/// As `println`: with blanks between all values, and a line's end.
pub(super) fn print_line(values: &[Data], shape: &Shape) -> String {
    let texts: Vec<String> = values.iter().map(|value| display(value, shape)).collect();
    texts.join(" ") + "\n"
}

/// The most digits behind the point: more than a 64-bit number has.
const DIGITS_MAX: usize = 1100;

/// How a verb of `printf` writes a value.
#[derive(Debug, Default)]
struct Verb {
    left: bool,
    plus: bool,
    zeros: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// As `printf` with the verbs `%s %q %v %d %x %X %t %f %%`, flags, width and precision. What does not fit is written as
/// Go does it: `%!d(string=x)`, `%!s(MISSING)`, `%!(EXTRA string=x)`.
pub(super) fn printf(pattern: &str, values: &[Data], shape: &Shape) -> String {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = pattern;
    while let Some(place) = rest.find('%') {
        text += &rest[..place];
        let (verb, behind) = read_verb(&rest[place + 1..]);
        let Some(letter) = behind.chars().next() else {
            text += "%!(NOVERB)";
            rest = "";
            break;
        };
        rest = &behind[letter.len_utf8()..];
        if letter == '%' {
            text.push('%');
            continue;
        }
        text += &match values.next() {
            Some(value) => verb.pad(&verb.write(letter, value, shape)),
            None => format!("%!{letter}(MISSING)"),
        };
    }
    text += rest;
    let extra: Vec<String> = values.map(|value| described(value, shape)).collect();
    if !extra.is_empty() {
        let _ = write!(text, "%!(EXTRA {})", extra.join(", "));
    }
    text
}

/// The flags, width and precision at the start of `text`, and what is behind them.
fn read_verb(text: &str) -> (Verb, &str) {
    let mut verb = Verb::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|c| matches!(c, '-' | '+' | '0' | '#' | ' ')) {
        match flag {
            '-' => verb.left = true,
            '+' => verb.plus = true,
            '0' => verb.zeros = true,
            _ => {}
        }
        rest = &rest[1..];
    }
    (verb.width, rest) = read_number(rest);
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = read_number(behind);
        (verb.precision, rest) = (Some(precision.unwrap_or(0)), behind);
    }
    (verb, rest)
}

fn read_number(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number = digits.parse().map_or(WIDTH_MAX, |number: usize| number.min(WIDTH_MAX));
    ((!digits.is_empty()).then_some(number), rest)
}

impl Verb {
    fn write(&self, letter: char, value: &Data, shape: &Shape) -> String {
        let Some(json) = &value.value else {
            return if letter == 'v' {
                "<nil>".to_owned()
            } else {
                format!("%!{letter}(<nil>)")
            };
        };
        if !matches!(letter, 's' | 'q' | 'v' | 'd' | 'x' | 'X' | 't' | 'f') {
            return format!("%!{letter}({})", described(value, shape));
        }
        written(json, value.is_map(), shape, &|leaf| self.leaf(letter, leaf))
    }

    fn leaf(&self, letter: char, leaf: &Value) -> String {
        match (letter, leaf) {
            ('v', Value::Null) => "<nil>".to_owned(),
            ('v' | 's', Value::String(text)) => self.cut(text),
            ('q', Value::String(text)) => quoted(&self.cut(text)),
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('v' | 'd', Value::Number(number)) if is_whole(number) => self.signed(&number.to_string()),
            ('v', Value::Number(number)) => self.signed(&number.to_string()),
            ('f', Value::Number(number)) if !is_whole(number) => {
                let digits = self.precision.unwrap_or(6).min(DIGITS_MAX);
                self.signed(&format!("{:.digits$}", number.as_f64().unwrap_or_default()))
            }
            ('x', Value::Number(number)) if is_whole(number) => hexadecimal(number),
            ('X', Value::Number(number)) if is_whole(number) => hexadecimal(number).to_uppercase(),
            ('v' | 't', Value::Bool(value)) => value.to_string(),
            (_, Value::Null) => format!("%!{letter}(<nil>)"),
            (_, other) => format!("%!{letter}({}={})", type_of(other), plain_leaf(other)),
        }
    }

    /// As many characters as the precision lets through.
    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn signed(&self, digits: &str) -> String {
        let sign = if self.plus && !digits.starts_with('-') { "+" } else { "" };
        format!("{sign}{digits}")
    }

    fn pad(&self, text: &str) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.left {
            return text.to_owned() + &" ".repeat(missing);
        }
        if !self.zeros {
            return " ".repeat(missing) + text;
        }
        // Zeros stand behind the sign.
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let sign = &text[..text.len() - digits.len()];
        format!("{sign}{}{digits}", "0".repeat(missing))
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    !number.is_f64()
}

fn hexadecimal(number: &serde_json::Number) -> String {
    let value = number.as_i128().unwrap_or_default();
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{:x}", value.unsigned_abs())
}

/// A value with its type, as Go complains of it.
fn described(value: &Data, shape: &Shape) -> String {
    match &value.value {
        None | Some(std::borrow::Cow::Borrowed(Value::Null)) => "<nil>".to_owned(),
        Some(json) => format!("{}={}", type_of(json), plain(json, value.is_map(), shape)),
    }
}

fn plain_leaf(leaf: &Value) -> String {
    leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if is_whole(number) => "int",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A text in double quotes, as Go writes it in a program.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\u{7}' => quoted += "\\a",
            '\u{8}' => quoted += "\\b",
            '\u{c}' => quoted += "\\f",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            '\u{b}' => quoted += "\\v",
            _ if character.is_control() && u32::from(character) < 0x80 => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(character));
            }
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
