//! Containers and networks in the JSON shape of Docker's API, and how they are written.

mod container;
mod network;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer as _};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_json::{Serializer, Value};
use zdocker_net::model::{Driver, Network};

use super::template::{Shape, Template, TemplateError, Zero};

pub(crate) use container::container;
pub(crate) use network::network;

/// Which of the objects below are maps, and what is left out of them where it is empty.
const SHAPE: Shape = Shape {
    maps: &[
        ("AuxiliaryAddresses", Zero::Text),
        ("Containers", Zero::Nil),
        ("Data", Zero::Text),
        ("DriverOpts", Zero::Text),
        ("ExposedPorts", Zero::Nil),
        ("Labels", Zero::Text),
        ("Networks", Zero::Nil),
        ("Options", Zero::Text),
        ("PortBindings", Zero::List),
        ("Ports", Zero::List),
        ("Subnets", Zero::Nil),
    ],
    optional: &[
        ("AuxiliaryAddresses", Zero::Map),
        ("Bandwidth", Zero::Nil),
        ("IPRange", Zero::Text),
    ],
};

/// How what is inspected is written.
#[derive(Debug, Clone)]
pub(crate) enum InspectFormat {
    /// A list, indented for people.
    Indented,
    /// A list on one line.
    Json,
    /// What a template makes of each.
    Template(std::sync::Arc<Template>),
}

impl InspectFormat {
    /// Reads what `--format` is given.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(match text {
            "" => InspectFormat::Indented,
            "json" => InspectFormat::Json,
            _ => InspectFormat::Template(Template::parse(text)?.into()),
        })
    }

    /// The text of all `values`, which need not be there all at once, without the end of its last line; `None` if a
    /// template has nothing to say of nothing.
    ///
    /// # Errors
    /// [`TemplateError`] when a template asks of a value what it has not.
    pub(crate) fn render(&self, values: impl Iterator<Item = Value>) -> Result<Option<String>, TemplateError> {
        let list = match self {
            // As Docker has it, with four blanks a level.
            InspectFormat::Indented => list(values, PrettyFormatter::with_indent(b"    ")),
            InspectFormat::Json => list(values, CompactFormatter),
            InspectFormat::Template(template) => {
                let texts = values.map(|value| template.render(&value, &SHAPE));
                let texts = texts.collect::<Result<Vec<_>, _>>()?;
                return Ok((!texts.is_empty()).then(|| texts.join("\n")));
            }
        };
        Ok(Some(list))
    }
}

/// Values as a JSON list.
fn list(values: impl Iterator<Item = Value>, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    // Neither writing to memory nor values that are JSON already can fail.
    let _ = serializer.collect_seq(values);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Docker's name of a network's driver: that of network `none` is another one.
pub(crate) fn driver(network: &Network) -> String {
    match network.driver {
        Driver::None => "null".to_owned(),
        driver => driver.to_string(),
    }
}

/// The value, or null if it is empty, as Go writes a list or map that nobody has made.
fn or_null<T: Serialize>(value: &T, is_empty: bool) -> Value {
    match serde_json::to_value(value) {
        Ok(value) if !is_empty => value,
        _ => Value::Null,
    }
}

/// A map, or null if it is empty.
fn map_or_null(map: &BTreeMap<String, String>) -> Value {
    or_null(map, map.is_empty())
}
