//! Copying between our own terminal and another one whose master end we hold.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{RawMode, WindowSize};

/// Copies until everyone at the other end of `master` has closed it. With `stdin`, our standard input goes there, in
/// raw mode when it is a terminal. Its size follows ours.
pub(crate) fn run(master: &File, stdin: bool) -> io::Result<()> {
    let watched = SigSet::from_iter([Signal::SIGWINCH]);
    let earlier = watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let result = relay(master, stdin, &watched);
    // The mask is ours to restore whatever has happened; it was valid before.
    let _ = earlier.thread_set_mask();
    result
}

fn relay(master: &File, mut reads_stdin: bool, watched: &SigSet) -> io::Result<()> {
    let signals = SignalFd::with_flags(watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let _raw = if reads_stdin {
        RawMode::enter(rustix::stdio::stdin())?
    } else {
        None
    };
    rustix::io::ioctl_fionbio(master, true)?;
    resize(master);
    let mut typed = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let (output, window, stdin) = wait(master, &signals, reads_stdin, !typed.is_empty())?;
        if window {
            while signals.read_signal()?.is_some() {}
            resize(master);
        }
        if stdin {
            // A terminal that hangs up says EIO: the end of input, as any other.
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer).unwrap_or(0) {
                0 => reads_stdin = false,
                length => typed.extend_from_slice(&buffer[..length]),
            }
        }
        if !write_some(master, &mut typed)? || output && !copy_output(master, &mut buffer)? {
            return Ok(());
        }
    }
}

/// Which is ready: the master's output, a signal, standard input. Input waits while earlier input is not taken.
fn wait(master: &File, signals: &SignalFd, reads_stdin: bool, typed: bool) -> io::Result<(bool, bool, bool)> {
    let mut events = PollFlags::POLLIN;
    events.set(PollFlags::POLLOUT, typed);
    let mut fds = vec![
        PollFd::new(master.as_fd(), events),
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
    ];
    if reads_stdin && !typed {
        fds.push(PollFd::new(rustix::stdio::stdin(), PollFlags::POLLIN));
    }
    while let Err(error) = poll(&mut fds, PollTimeout::NONE) {
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    let events = |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    Ok((
        !(events(0) - PollFlags::POLLOUT).is_empty(),
        !events(1).is_empty(),
        !events(2).is_empty(),
    ))
}

/// Writes what the terminal takes; false when nobody is there any more.
fn write_some(mut master: &File, typed: &mut Vec<u8>) -> io::Result<bool> {
    while !typed.is_empty() {
        match master.write(typed) {
            Ok(length) => drop(typed.drain(..length)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Copies one piece of output to our standard output; false when there will be no more.
fn copy_output(mut master: &File, buffer: &mut [u8]) -> io::Result<bool> {
    match master.read(buffer) {
        Ok(0) => Ok(false),
        Ok(length) => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&buffer[..length])?;
            stdout.flush()?;
            Ok(true)
        }
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
        Err(error) => Err(error),
    }
}

fn resize(master: &File) {
    if let Some(size) = WindowSize::of_caller() {
        // A terminal that hangs up at this moment needs no size.
        let _ = size.apply(master);
    }
}
