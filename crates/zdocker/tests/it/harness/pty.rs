//! A terminal with somebody at it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};

use super::command::exit_status;
use super::host::Host;
use super::wait::{PATIENCE, until_some};

/// A command that runs at a terminal, of which the test holds the other side.
pub(crate) struct Terminal {
    master: File,
    /// Held open, so that what the command wrote last can be read after its end.
    slave: OwnedFd,
    child: Child,
    /// What was written and not yet looked at.
    unread: String,
}

impl Terminal {
    /// Runs `zdocker ARGS` at a terminal of 100 columns and 30 rows.
    pub(crate) fn open(host: &Host, args: &[&str]) -> Self {
        Terminal::of(host, host.zdocker_command(args))
    }

    /// Runs `command`, one of `host`, at such a terminal.
    pub(crate) fn of(host: &Host, mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        command
            .env("TERM", "xterm")
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave.try_clone().unwrap());
        // SAFETY: the closure makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = host.spawn(&mut command).unwrap();
        Terminal {
            master: pty.master.into(),
            slave: pty.slave,
            child,
            unread: String::new(),
        }
    }

    /// Types `text`.
    pub(crate) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` is there, and returns all that came up to and with it.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(position) = self.unread.find(text) {
                let rest = self.unread.split_off(position + text.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "{text:?} is not on the terminal: {:?}", self.unread);
            self.read(u16::try_from(left.as_millis()).unwrap());
        }
    }

    fn read(&mut self, patience: u16) {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(patience)).is_ok_and(|ready| ready > 0) {
            let mut buffer = [0; 4096];
            let length = self.master.read(&mut buffer).unwrap_or_default();
            self.unread.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptor is open, and the request reads one Winsize.
        let status = unsafe { nix::libc::ioctl(self.master.as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
    }

    /// Whether the terminal echoes and gathers lines, as a shell's terminal does.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = nix::sys::termios::tcgetattr(&self.slave).unwrap().local_flags;
        use nix::sys::termios::LocalFlags;
        modes.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    }

    /// Waits for the command's end and returns its exit status.
    pub(crate) fn status(&mut self) -> i32 {
        until_some("the command at the terminal ends", || {
            self.read(0);
            self.child.try_wait().unwrap().map(exit_status)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its host cannot end before this process has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
