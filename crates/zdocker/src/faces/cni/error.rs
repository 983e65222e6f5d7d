//! Errors as a runtime reads them (CNI specification, "Error").

use std::fmt::Display;

use serde_json::{Value, json};
use zdocker_engine::EngineError;

/// What a failure is to a runtime. Codes below 100 are the specification's, with the meaning that it gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The configuration's version is none that the plug-in knows, or has no such verb.
    IncompatibleVersion = 1,
    /// A key of the configuration has a value that the plug-in cannot do.
    UnsupportedField = 2,
    /// An environment variable is missing or wrong.
    InvalidEnvironment = 4,
    /// The standard input could not be read, or a file.
    Io = 5,
    /// Something is no JSON, or not of the form that it must have.
    Decoding = 6,
    /// The configuration is wrong.
    InvalidConfig = 7,
    /// The same may be done when it is tried again.
    TryAgain = 11,
    /// `STATUS`: no container can be added.
    NotAvailable = 50,
    /// It could not be done.
    Failed = 100,
    /// `CHECK`: something is not as it was made.
    Differs = 101,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CniError {
    /// As printed: one of [`Code`], or the one that another plug-in gave.
    pub(super) code: u64,
    /// What went wrong, in a sentence.
    pub(super) message: String,
    /// More about it; may be empty.
    pub(super) details: String,
}

impl CniError {
    /// A failure without details.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        CniError {
            code: code as u64,
            message: message.into(),
            details: String::new(),
        }
    }

    /// The key `key` of the configuration has a wrong value, for a reason.
    pub(super) fn config(key: &str, reason: impl Display) -> Self {
        CniError::new(Code::InvalidConfig, format!("invalid configuration: {key:?}: {reason}"))
    }

    /// The key `key` has a value that is right, and cannot be done.
    pub(super) fn unsupported(key: &str, reason: impl Display) -> Self {
        CniError::new(
            Code::UnsupportedField,
            format!("unsupported configuration: {key:?}: {reason}"),
        )
    }

    /// An environment variable is wrong.
    pub(super) fn environment(variable: &str, reason: impl Display) -> Self {
        CniError::new(Code::InvalidEnvironment, format!("{variable}: {reason}"))
    }

    /// What is printed, in the configuration's version.
    pub(super) fn to_json(&self, version: &str) -> Value {
        let mut json = json!({ "cniVersion": version, "code": self.code, "msg": self.message });
        if !self.details.is_empty() {
            json["details"] = self.details.clone().into();
        }
        json
    }

    /// What another plug-in printed; `None` if it is no error.
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let text = |key| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(CniError {
            code: json.get("code")?.as_u64()?,
            message: text("msg"),
            details: text("details"),
        })
    }
}

impl Display for CniError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<EngineError> for CniError {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Plugging { .. } | EngineError::Busy(_) => Code::TryAgain,
            _ => Code::Failed,
        };
        CniError::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_through_json() {
        let mut error = CniError::config("mtu", "is no number");
        assert_eq!(
            error.to_json("0.4.0"),
            json!({"cniVersion": "0.4.0", "code": 7, "msg": "invalid configuration: \"mtu\": is no number"})
        );
        error.details = "more".to_owned();
        assert_eq!(CniError::from_json(&error.to_json("1.1.0")), Some(error));
        assert_eq!(CniError::from_json(&json!({"cniVersion": "1.0.0"})), None);
    }
}
