//! JSON as a list of paths and values, without what is different in every run.

use serde_json::Value;

use super::Findings;

/// Adds every value of `value` by its path.
pub(crate) fn add(findings: &mut Findings, path: &str, value: &Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                add(findings, &format!("{path} .{}", key_of(key, value)), value);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            // Where a port is published is told in no order.
            let mut items: Vec<&Value> = items.iter().collect();
            items.sort_by_key(|item| item["HostPort"].is_string().then(|| item.to_string()));
            for (index, item) in items.into_iter().enumerate() {
                add(findings, &format!("{path} [{index}]"), item);
            }
        }
        // They are all the same to who reads them.
        Value::Null | Value::Object(_) | Value::Array(_) => {
            findings.insert(path.to_owned(), "nothing".to_owned());
        }
        _ => {
            findings.insert(path.to_owned(), leaf(path, value));
        }
    }
}

/// Objects that are filed by an identifier are told apart by their name.
fn key_of(key: &str, value: &Value) -> String {
    match value["Name"].as_str() {
        Some(name) if is_id(key) => name.to_owned(),
        _ => key.to_owned(),
    }
}

/// A value; in the place of what no two runs have in common, what kind of thing it is.
fn leaf(path: &str, value: &Value) -> String {
    let Some(text) = value.as_str() else {
        return if path.ends_with(".Pid") {
            "<pid>".to_owned()
        } else {
            value.to_string()
        };
    };
    let is_hex = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id(text) || (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        "<id>".to_owned()
    } else if text.split(':').count() == 6 && text.split(':').all(is_hex) {
        "<mac>".to_owned()
    } else if text.len() > 19 && text.as_bytes()[10] == b'T' && text.starts_with("20") {
        "<time>".to_owned()
    } else if text.starts_with('/') && text.split('/').any(|part| is_id(part) || part.len() == 12) {
        "<path>".to_owned()
    } else {
        format!("{text:?}")
    }
}

fn is_id(text: &str) -> bool {
    crate::harness::is_id(text)
}
