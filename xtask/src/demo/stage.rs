//! Showing a command: what it is for in words, what is typed, what it says, how long it took.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// Where a command runs.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// On the throw-away host.
    Host,
    /// On the machine that stands for the rest of the world.
    Outside,
}

/// How much of a fetched page is shown.
const LINES_OF_A_PAGE: usize = 2;

/// Runs the steps, with zdocker's records in a folder of their own.
pub(super) struct Stage {
    binary: PathBuf,
    root: PathBuf,
    run_root: PathBuf,
}

/// Prints a heading.
pub(super) fn heading(text: &str) {
    println!("\n\x1b[1m== {text}\x1b[0m");
}

impl Stage {
    pub(super) fn new(binary: &Path, folder: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            root: folder.join("root"),
            run_root: folder.join("run"),
        }
    }

    /// Shows a command that must succeed and returns what it wrote to standard output.
    pub(super) fn show(&self, words: &str, place: Place, line: &[&str]) -> Result<String> {
        let (output, took) = self.perform(words, place, line)?;
        let is_page = line.contains(&"wget") && output.status.success();
        print_output(&output, if is_page { LINES_OF_A_PAGE } else { usize::MAX });
        println!("   \x1b[2m{}\x1b[0m", in_milliseconds(took));
        if !output.status.success() {
            bail!("this step failed: `{}` {}", typed(line), process::ending(output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Like [`Stage::show`], for zdocker on the host.
    pub(super) fn zdocker(&self, words: &str, line: &[&str]) -> Result<String> {
        let whole: Vec<&str> = ["zdocker"].iter().chain(line).copied().collect();
        self.show(words, Place::Host, &whole)
    }

    /// Shows a command that succeeds and says this.
    pub(super) fn expect(&self, words: &str, place: Place, line: &[&str], text: &str) -> Result<()> {
        let said = self.show(words, place, line)?;
        if !said.contains(text) {
            bail!("this step should have shown \"{text}\"");
        }
        Ok(())
    }

    /// Shows a command that must be refused or find no way.
    pub(super) fn refuse(&self, words: &str, place: Place, line: &[&str]) -> Result<()> {
        let (output, took) = self.perform(words, place, line)?;
        print_output(&output, usize::MAX);
        println!(
            "   \x1b[2m{}, {}, as it should\x1b[0m",
            in_milliseconds(took),
            process::ending(output.status)
        );
        if output.status.success() {
            bail!("this step should have failed: `{}`", typed(line));
        }
        Ok(())
    }

    /// Shows the command once it succeeds, trying again while the program it asks is still starting.
    pub(super) fn show_when_ready(&self, words: &str, line: &[&str]) -> Result<String> {
        let patience = Instant::now() + Duration::from_secs(5);
        while !self.command(Place::Host, line).output()?.status.success() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.show(words, Place::Host, line)
    }

    fn perform(&self, words: &str, place: Place, line: &[&str]) -> Result<(Output, Duration)> {
        println!("\n{words}");
        let prompt = match place {
            Place::Host => "host #",
            Place::Outside => "outside #",
        };
        println!("   \x1b[36m{prompt} {}\x1b[0m", typed(line));
        let mut command = self.command(place, line);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| process::not_started(&command))?;
        // Held open, as a silent person at a keyboard would.
        let keyboard = child.stdin.take();
        let output = child.wait_with_output()?;
        drop(keyboard);
        Ok((output, start.elapsed()))
    }

    fn command(&self, place: Place, line: &[&str]) -> Command {
        let mut words = line.iter().map(|word| match *word {
            "zdocker" => self.binary.as_os_str(),
            other => other.as_ref(),
        });
        let mut command = match place {
            Place::Host => Command::new(words.next().unwrap_or_default()),
            Place::Outside => {
                let mut enter = Command::new("ip");
                enter.args(["netns", "exec", "outside"]);
                enter
            }
        };
        command.env("ZDOCKER", &self.binary);
        command
            .args(words)
            .env("ZDOCKER_ROOT", &self.root)
            .env("ZDOCKER_RUN_ROOT", &self.run_root);
        command
    }
}

fn typed(line: &[&str]) -> String {
    line.iter()
        .map(|word| process::quoted(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shows what a command said, cut short where it is long prose.
fn print_output(output: &Output, most: usize) {
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(most) {
            println!("   {}", line.trim_end());
        }
        if lines.len() > most {
            println!("   ... and {} more lines", lines.len() - most);
        }
    }
}

fn in_milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
