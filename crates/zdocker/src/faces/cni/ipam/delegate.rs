//! Address management by another plug-in (CNI specification, "Section 4: Plugin Delegation"): it is executed with our
//! environment and our standard input.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::faces::cni::error::{CniError, Code};
use crate::faces::cni::request::Request;
use crate::faces::cni::result::CniResult;

/// Has the plug-in `name` hand out addresses.
///
/// # Errors
/// The plug-in's own, or that it cannot be executed.
pub(in crate::faces::cni) fn add(request: &Request, name: &str) -> Result<CniResult, CniError> {
    let output = execute(request, name, "ADD")?;
    let printed = serde_json::from_slice(&output)
        .map_err(|error| CniError::new(Code::Decoding, format!("plug-in {name:?} gave no JSON: {error}")))?;
    let result = CniResult::from_json(&printed)?;
    if result.ips.is_empty() {
        // What it did for us it undoes.
        let undone = execute(request, name, "DEL");
        let also = undone
            .err()
            .map(|error| format!("; and then: {error}"))
            .unwrap_or_default();
        let message = format!("plug-in {name:?} gave no address{also}");
        return Err(CniError::new(Code::Failed, message));
    }
    Ok(result)
}

/// Has the plug-in `name` do `verb`, which has no result.
///
/// # Errors
/// The plug-in's own, or that it cannot be executed.
pub(in crate::faces::cni) fn tell(request: &Request, name: &str, verb: &str) -> Result<(), CniError> {
    execute(request, name, verb).map(drop)
}

fn execute(request: &Request, name: &str, verb: &str) -> Result<Vec<u8>, CniError> {
    let program = find(request, name)?;
    let output = run(&program, verb, &request.config)
        .map_err(|error| CniError::new(Code::Io, format!("cannot execute {}: {error}", program.display())))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let printed: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let own = printed.as_ref().and_then(CniError::from_json);
    Err(own.unwrap_or_else(|| CniError {
        details: String::from_utf8_lossy(&output.stderr).into_owned(),
        ..CniError::new(Code::Failed, format!("plug-in {name:?} failed: {}", output.status))
    }))
}

fn find(request: &Request, name: &str) -> Result<PathBuf, CniError> {
    if Path::new(name).file_name().is_none_or(|file| file != name) {
        return Err(CniError::config(
            "ipam.type",
            format!("{name:?} is no name of a program"),
        ));
    }
    let candidates = request.path.iter().map(|directory| directory.join(name));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let places: Vec<String> = request.path.iter().map(|path| path.display().to_string()).collect();
        CniError::config("ipam.type", format!("no plug-in {name:?} in {}", places.join(":")))
    })
}

fn run(program: &Path, verb: &str, config: &Value) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .env("CNI_COMMAND", verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that reads nothing may do without.
        let _ = input.write_all(config.to_string().as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::cni::request::Verb;
    use std::os::unix::fs::PermissionsExt;

    /// A request with a plug-in `fake` that is this shell script.
    fn with_plugin(script: &str) -> (tempfile::TempDir, Request) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fake");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let environment = |key: &str| match key {
            "CNI_PATH" => Some(directory.path().as_os_str().to_owned()),
            "CNI_ARGS" => None,
            _ => Some("x".into()),
        };
        let request = Request::new(Verb::Add, &environment, r#"{"cniVersion": "0.4.0", "name": "n"}"#).unwrap();
        (directory, request)
    }

    #[test]
    fn it_hears_the_configuration_and_its_answer_is_read() {
        let (_directory, request) = with_plugin(
            r#"grep -q '"name":"n"' && [ $CNI_COMMAND = ADD ] && echo '{"ips": [{"version": "4", "address": "10.0.0.5/24"}]}'"#,
        );
        assert_eq!(add(&request, "fake").unwrap().ips[0].address.to_string(), "10.0.0.5/24");
    }

    #[test]
    fn its_errors_are_ours() {
        let (_directory, request) = with_plugin(r#"cat >/dev/null; echo '{"code": 11, "msg": "later"}'; exit 1"#);
        let error = add(&request, "fake").unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (11, "later"));
        let (_directory, request) = with_plugin("cat >/dev/null; echo words >&2; exit 3");
        let error = tell(&request, "fake", "DEL").unwrap_err();
        assert_eq!((error.code, error.details.as_str()), (100, "words\n"));
        let (_directory, request) = with_plugin("cat >/dev/null; echo '{}'");
        assert!(add(&request, "fake").unwrap_err().message.contains("no address"));
        for name in ["missing", "../fake", "a/b", ""] {
            assert_eq!(tell(&request, name, "DEL").unwrap_err().code, 7, "{name}");
        }
    }
}
