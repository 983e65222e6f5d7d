//! The caller's terminal: its size, its raw mode, and the keys that detach from a container.

pub(crate) mod relay;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use serde::{Deserialize, Serialize};

/// The size of a terminal, in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

impl WindowSize {
    /// The size of the terminal `fd`; `None` when it is no terminal, or one of unknown size.
    pub fn of(fd: impl AsFd) -> Option<Self> {
        let size = tcgetwinsize(fd)
            .ok()
            .filter(|size| size.ws_row > 0 && size.ws_col > 0)?;
        Some(Self {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }

    /// The size of the terminal that our own standard output or input is.
    pub fn of_caller() -> Option<Self> {
        Self::of(rustix::stdio::stdout()).or_else(|| Self::of(rustix::stdio::stdin()))
    }

    /// Gives the terminal `fd` this size.
    ///
    /// # Errors
    /// As the ioctl TIOCSWINSZ.
    pub fn apply(self, fd: impl AsFd) -> io::Result<()> {
        let size = Winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(fd, size)?)
    }
}

/// A terminal in raw mode: every key goes to the container. The earlier mode is back when this is dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    terminal: OwnedFd,
    earlier: Termios,
}

impl RawMode {
    /// Makes `fd` raw; `None` when it is no terminal.
    pub(crate) fn enter(fd: impl AsFd) -> io::Result<Option<Self>> {
        if !isatty(&fd) {
            return Ok(None);
        }
        let terminal = fd.as_fd().try_clone_to_owned()?;
        let earlier = tcgetattr(&terminal)?;
        let mut raw = earlier.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Some(Self { terminal, earlier }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has hung up has no mode to restore.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.earlier);
    }
}

/// Finds ctrl-p ctrl-q in what is typed.
#[derive(Debug, Default)]
pub(crate) struct DetachKeys {
    /// ctrl-p was typed and is held back.
    held: bool,
}

impl DetachKeys {
    const FIRST: u8 = 0x10;
    const SECOND: u8 = 0x11;

    /// What of `typed` is the container's, and whether the keys were found.
    pub(crate) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for &key in typed {
            if std::mem::take(&mut self.held) {
                if key == Self::SECOND {
                    return (passed, true);
                }
                passed.push(Self::FIRST);
            }
            if key == Self::FIRST {
                self.held = true;
            } else {
                passed.push(key);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    #[test]
    fn raw_mode_ends_with_its_guard() {
        let pty = openpty(None, None).unwrap();
        let modes = || tcgetattr(&pty.slave).unwrap().local_modes;
        let before = modes();
        let raw = RawMode::enter(&pty.slave).unwrap();
        assert!(raw.is_some() && modes() != before);
        drop(raw);
        assert_eq!(modes(), before);
        assert!(
            RawMode::enter(std::fs::File::open("/dev/null").unwrap())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_size_is_given_and_read_back() {
        let pty = openpty(None, None).unwrap();
        assert_eq!(WindowSize::of(&pty.slave), None);
        let size = WindowSize { rows: 33, columns: 77 };
        size.apply(&pty.master).unwrap();
        assert_eq!(WindowSize::of(&pty.slave), Some(size));
    }

    #[test]
    fn detach_keys_are_found_across_reads_and_all_else_is_passed() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"ab"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"\x10b\x11"), (b"\x10\x10b\x11".to_vec(), false));
        assert_eq!(keys.filter(b"\x10"), (b"".to_vec(), false));
        assert_eq!(keys.filter(b"\x11"), (b"".to_vec(), true));
    }
}
