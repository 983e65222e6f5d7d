//! Running programs, and what came of it.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// How long a command may run.
const LIMIT: Duration = Duration::from_secs(60);

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    /// The command as a person would type it.
    pub(crate) command: String,
    /// Its exit status; 128 and the signal's number when a signal ended it.
    pub(crate) status: i32,
    /// What it wrote to its standard output.
    pub(crate) stdout: String,
    /// What it wrote to its standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Feeds `input` to `child`, waits for its end and for the end of its output (which whoever inherited it holds
    /// open), and panics when that does not come. What still runs then ends with its host.
    pub(crate) fn collect(command: String, mut child: Child, input: &str) -> Self {
        let stdout = Gathered::from(child.stdout.take());
        let stderr = Gathered::from(child.stderr.take());
        let mut stdin = child.stdin.take();
        let input = input.to_owned();
        let (done, finished) = mpsc::channel();
        let readers = [Arc::clone(&stdout.0), Arc::clone(&stderr.0)];
        thread::spawn(move || {
            if let Some(stdin) = &mut stdin {
                // The command may end without reading; then its status says what the matter is.
                let _ = stdin.write_all(input.as_bytes());
            }
            drop(stdin);
            let status = child.wait().unwrap();
            for reader in readers {
                reader.wait_for_end();
            }
            let _ = done.send(status);
        });
        match finished.recv_timeout(LIMIT) {
            Ok(status) => Output {
                command,
                status: exit_status(status),
                stdout: stdout.text(),
                stderr: stderr.text(),
            },
            Err(_) => panic!(
                "{command}\nstill ran after {LIMIT:?}, or left somebody with its output\nstdout: {}\nstderr: {}",
                stdout.text(),
                stderr.text()
            ),
        }
    }

    /// The whole of it, for a failed test to show.
    fn describe(&self) -> String {
        let Output {
            command,
            status,
            stdout,
            stderr,
        } = self;
        format!("{command}\nexit status {status}\nstdout: {stdout}\nstderr: {stderr}")
    }

    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// The output of a command that must have ended with `status`.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert!(
            self.status == status,
            "expected exit status {status}: {}",
            self.describe()
        );
        self
    }

    /// Checks that standard error has all of these words.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not in the message: {}",
                self.describe()
            );
        }
        self
    }

    /// Checks that standard output has all of these words.
    #[track_caller]
    pub(crate) fn prints(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stdout.contains(word),
                "{word:?} is not in the output: {}",
                self.describe()
            );
        }
        self
    }

    /// Standard output without white space at its ends.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.describe()))
    }
}

/// The status as a shell shows it.
pub(crate) fn exit_status(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap()
}

/// What a thread has read of a stream so far.
struct Gathered(Arc<Stream>);

struct Stream {
    bytes: Mutex<(Vec<u8>, bool)>,
    ended: Condvar,
}

impl Stream {
    fn wait_for_end(&self) {
        let bytes = self.bytes.lock().unwrap();
        drop(self.ended.wait_while(bytes, |(_, ended)| !*ended).unwrap());
    }
}

impl Gathered {
    fn from(stream: Option<impl Read + Send + 'static>) -> Self {
        let gathered = Arc::new(Stream {
            bytes: Mutex::new((Vec::new(), stream.is_none())),
            ended: Condvar::new(),
        });
        if let Some(mut stream) = stream {
            let gathered = Arc::clone(&gathered);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    gathered.bytes.lock().unwrap().0.extend_from_slice(&buffer[..length]);
                }
                gathered.bytes.lock().unwrap().1 = true;
                gathered.ended.notify_all();
            });
        }
        Gathered(gathered)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.bytes.lock().unwrap().0).into_owned()
    }
}
