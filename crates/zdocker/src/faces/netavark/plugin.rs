//! Drivers that are programs of their own, in plugin directories (netavark's plugin-API.md, version 1.0.0): they read
//! JSON from standard input and answer with JSON.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The directories that plugins are looked for in.
pub(crate) struct Plugins {
    directories: Vec<PathBuf>,
}

/// A plugin.
pub(crate) struct Plugin {
    path: PathBuf,
}

impl Plugins {
    /// Looks in these, in turn.
    pub(crate) fn new(directories: Vec<PathBuf>) -> Self {
        Plugins { directories }
    }

    /// The plugin for a driver: the first executable file of that name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, driver: &str) -> Result<Plugin> {
        // A name with a slash would lead elsewhere.
        let is_name = Path::new(driver).file_name() == Some(OsStr::new(driver));
        let mut paths = self.directories.iter().map(|directory| directory.join(driver));
        if let Some(path) = paths.find(|path| is_name && is_executable(path)) {
            return Ok(Plugin { path });
        }
        let searched: Vec<String> = self.directories.iter().map(|d| d.display().to_string()).collect();
        if searched.is_empty() {
            bail!("unknown network driver {driver:?}, and no plugin directory is given where its plugin could be");
        }
        bail!(
            "unknown network driver {driver:?}: plugin for driver {driver:?} not found in plugin directories {}",
            searched.join(", ")
        );
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Plugin {
    /// Completes and checks the configuration of a new network.
    ///
    /// # Errors
    /// The plugin's, and when it cannot be run or its answer is no JSON.
    pub(crate) fn create(&self, network: &Value) -> Result<Value> {
        self.ask(&["create"], network)
    }

    /// Plugs a container in, and returns the status: interfaces, name servers.
    ///
    /// # Errors
    /// As for [`Plugin::create`].
    pub(crate) fn setup(&self, namespace: &str, request: &Value) -> Result<Value> {
        self.ask(&["setup", namespace], request)
    }

    /// Unplugs a container.
    ///
    /// # Errors
    /// The plugin's, and when it cannot be run.
    pub(crate) fn teardown(&self, namespace: &str, request: &Value) -> Result<()> {
        self.run(&["teardown", namespace], request).map(drop)
    }

    fn ask(&self, args: &[&str], request: &Value) -> Result<Value> {
        let answer = self.run(args, request)?;
        serde_json::from_slice(&answer).with_context(|| format!("{}: the answer is no JSON", self.show(args)))
    }

    fn run(&self, args: &[&str], request: &Value) -> Result<Vec<u8>> {
        let context = || self.show(args);
        let mut child = Command::new(&self.path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(context)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let request = request.to_string();
        let mut answer = Vec::new();
        // It may answer before it has read everything: neither waits for the other.
        let read = thread::scope(|scope| {
            scope.spawn(move || {
                // It may end without reading; then its status says what the matter is.
                stdin.map(|mut stdin| stdin.write_all(request.as_bytes()))
            });
            stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut answer))
        });
        let status = child.wait().with_context(context)?;
        read.with_context(context)?;
        if status.success() {
            return Ok(answer);
        }
        let error: Option<Value> = serde_json::from_slice(&answer).ok();
        match error.as_ref().and_then(|error| error.get("error")?.as_str()) {
            Some(message) => bail!("{}: {status}: {message}", context()),
            None => bail!("{}: {status}, and no error message on its standard output", context()),
        }
    }

    fn show(&self, args: &[&str]) -> String {
        format!("plugin {} {}", self.path.display(), args.join(" "))
    }
}

#[cfg(test)]
mod tests;
