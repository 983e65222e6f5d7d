//! An OCI runtime program, such as runc, by the command line that all of them share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libcontainer::oci_spec::runtime::{Process, Spec};
use nix::unistd::Pid;
use serde::Deserialize;

use super::{ProcessStdio, Runtime, RuntimeError};
use crate::containers::paths::ContainerPaths;

/// An OCI runtime program, for one container.
pub(super) struct External {
    program: PathBuf,
    paths: ContainerPaths,
}

impl External {
    /// The runtime of one container: `program` is a path, or a name that is looked up in `PATH`.
    pub(super) fn new(program: &Path, paths: &ContainerPaths) -> Self {
        Self {
            program: program.to_owned(),
            paths: paths.clone(),
        }
    }

    fn log(&self) -> PathBuf {
        self.paths.run_dir().join("runtime.log")
    }

    fn pid_file(&self, what: &str) -> PathBuf {
        self.paths.run_dir().join(format!("{what}-{}.pid", std::process::id()))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args([Path::new("--root"), &self.paths.runtime_root().join("external")])
            .args([Path::new("--log"), &self.log()])
            .args(["--log-format", "json", verb])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs a command of the runtime to its end; a failure is what it has logged.
    fn run(&self, action: &str, args: &[String], mut command: Command) -> Result<(), RuntimeError> {
        // An earlier run's errors are not this one's.
        let _ = fs::remove_file(self.log());
        let status = command.status().map_err(|error| {
            let reason = format!(
                "cannot run the OCI runtime {:?}: {error}; install it, or leave --runtime out",
                self.program
            );
            RuntimeError::failed(action, reason)
        })?;
        if status.success() {
            return Ok(());
        }
        let logged = last_error(&fs::read_to_string(self.log()).unwrap_or_default());
        let reason = logged.unwrap_or_else(|| format!("{:?}: {status}", self.program));
        Err(classify(action, args.first().map_or("", String::as_str), reason))
    }

    fn command_of_bundle(&self) -> Vec<String> {
        let spec = Spec::load(self.paths.bundle().join("config.json")).ok();
        let process = spec.as_ref().and_then(|spec| spec.process().as_ref());
        process.and_then(|process| process.args().clone()).unwrap_or_default()
    }
}

impl Runtime for External {
    fn create(&mut self, stdio: ProcessStdio) -> Result<Pid, RuntimeError> {
        let pid_file = self.pid_file("create");
        let mut command = self.command("create");
        command
            .arg("--bundle")
            .arg(self.paths.bundle())
            .arg("--pid-file")
            .arg(&pid_file);
        set_stdio(&mut command, stdio);
        command.arg(self.paths.id());
        self.run("create", &self.command_of_bundle(), command)?;
        read_pid("create", &pid_file)
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        let mut command = self.command("start");
        command.arg(self.paths.id());
        self.run("start", &self.command_of_bundle(), command)
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        let mut command = self.command("delete");
        command.arg("--force").arg(self.paths.id());
        self.run("delete", &[], command)
    }

    fn exec(&mut self, process: &Process, stdio: ProcessStdio) -> Result<Pid, RuntimeError> {
        let failed = |error: io::Error| RuntimeError::failed("enter", error);
        // The runtime program ends as soon as the process runs, which then becomes our child.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| failed(error.into()))?;
        let (pid_file, description) = (self.pid_file("exec"), self.pid_file("exec").with_extension("json"));
        fs::write(
            &description,
            serde_json::to_vec(process).map_err(|error| failed(error.into()))?,
        )
        .map_err(failed)?;
        let mut command = self.command("exec");
        command
            .arg("--detach")
            .arg("--process")
            .arg(&description)
            .arg("--pid-file")
            .arg(&pid_file);
        set_stdio(&mut command, stdio);
        command.arg(self.paths.id());
        let result = self.run("enter", process.args().as_deref().unwrap_or_default(), command);
        // Below the run directory, which is removed with the container at the latest.
        let _ = fs::remove_file(&description);
        result.and_then(|()| read_pid("enter", &pid_file))
    }
}

fn set_stdio(command: &mut Command, stdio: ProcessStdio) {
    match stdio {
        ProcessStdio::Descriptors { stdin, stdout, stderr } => {
            command.stdin(stdin).stdout(stdout).stderr(stderr);
        }
        ProcessStdio::Terminal { console_socket } => {
            command.arg("--console-socket").arg(console_socket);
        }
    }
}

fn read_pid(action: &str, file: &Path) -> Result<Pid, RuntimeError> {
    let text = fs::read_to_string(file);
    let _ = fs::remove_file(file);
    let pid = text.ok().and_then(|text| text.trim().parse().ok()).map(Pid::from_raw);
    pid.ok_or_else(|| RuntimeError::failed(action, "the OCI runtime has written no process id"))
}

/// The last error in a log of JSON lines.
fn last_error(log: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.rfind(|line| line.level == "error").map(|line| line.msg)
}

/// What kind of failure the runtime's message is; runtimes have no other way to say.
fn classify(action: &str, command: &str, reason: String) -> RuntimeError {
    let has = |text: &str| reason.contains(text);
    let command = command.to_owned();
    if has("executable file") || has("exec:") || has("exec ") {
        if has("not found") || has("no such file") || has("No such file") {
            return RuntimeError::CommandNotFound { command, reason };
        }
        if has("ermission denied") || has("is a directory") || has("format error") {
            return RuntimeError::CommandNotExecutable { command, reason };
        }
    }
    RuntimeError::Failed {
        action: action.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_runtimes_become_exit_statuses() {
        let check = |reason: &str, status| {
            assert_eq!(
                classify("create", "x", reason.to_owned()).exit_status(),
                status,
                "{reason}"
            );
        };
        let runc = "runc create failed: unable to start container process: ";
        check(&format!("{runc}exec: \"x\": executable file not found in $PATH"), 127);
        check(&format!("{runc}exec: \"/x\": stat /x: no such file or directory"), 127);
        check(&format!("{runc}exec: \"/tmp\": permission denied"), 126);
        check("executable file `x` not found in $PATH: No such file or directory", 127);
        check("runc create failed: invalid rootfs: no such file or directory", 125);
    }

    #[test]
    fn the_last_error_of_a_log_is_taken() {
        let log = "{\"level\":\"warning\",\"msg\":\"w\",\"time\":\"t\"}\n{\"level\":\"error\",\"msg\":\"a\"}\n\
                   {\"level\":\"error\",\"msg\":\"b\"}\nnot json\n";
        assert_eq!(last_error(log).as_deref(), Some("b"));
        assert_eq!(last_error(""), None);
    }
}
