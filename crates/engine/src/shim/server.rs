//! The shim's loop: the container's output to its log and its clients, the clients' input to the container, until the
//! container ends.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use zdocker_net::publish::Relay;

use super::clients::{Client, Received};
use super::log::ContainerLog;
use super::loopback::Loopback;
use super::protocol::{ExitStatus, Frame};
use super::stdio::ContainerStdio;

/// How much is read at once, in bytes.
const CHUNK: usize = 32 * 1024;

/// A running container and everyone who is connected to it.
pub(super) struct Server {
    pub(super) init: Pid,
    pub(super) stdio: ContainerStdio,
    pub(super) log: ContainerLog,
    pub(super) listener: UnixListener,
    pub(super) signals: SignalFd,
    pub(super) clients: Vec<Client>,
    /// Where a slow client's output is kept.
    pub(super) overflow: PathBuf,
    pub(super) buffer: Vec<u8>,
    /// What leads from `::1` to the container's published ports, once there is any.
    pub(super) loopback: Option<Loopback>,
}

/// What poll(2) has found.
#[derive(Default)]
struct Ready {
    signals: bool,
    listener: bool,
    input: bool,
    loopback: bool,
    outputs: Vec<usize>,
    /// Index, readable, writable.
    clients: Vec<(usize, bool, bool)>,
}

impl Server {
    /// Serves until the init process has ended, is reaped, and all that the container wrote is logged and on its way to
    /// the clients.
    pub(super) fn run(&mut self) -> io::Result<ExitStatus> {
        self.buffer.resize(CHUNK, 0);
        loop {
            let ready = self.wait()?;
            ready.clients.iter().rev().for_each(|client| self.serve(*client));
            if ready.input {
                self.feed();
            }
            // From the last to the first, as one that has ended is removed.
            for index in ready.outputs.into_iter().rev() {
                self.pump(index);
            }
            if ready.listener {
                self.accept();
            }
            if ready.loopback
                && let Some(loopback) = &mut self.loopback
            {
                loopback.serve();
            }
            if ready.signals
                && let Some(status) = self.reap()?
            {
                self.drain();
                return Ok(status);
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let readable = PollFlags::POLLIN;
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), readable),
            PollFd::new(self.listener.as_fd(), readable),
        ];
        fds.extend(
            self.stdio
                .outputs
                .iter()
                .map(|(_, file)| PollFd::new(file.as_fd(), readable)),
        );
        let full = self.stdio.input.as_ref().is_some_and(|input| input.is_full());
        fds.extend(self.clients.iter().map(|client| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, !(full && client.feeds_stdin()));
            events.set(PollFlags::POLLOUT, client.has_output());
            PollFd::new(client.fd(), events)
        }));
        let waiting = self.stdio.input.as_ref().filter(|input| input.is_waiting());
        fds.extend(waiting.map(|input| PollFd::new(input.fd(), PollFlags::POLLOUT)));
        let own = fds.len();
        let loopback = self.loopback.iter().flat_map(Loopback::fds);
        fds.extend(loopback.map(|fd| PollFd::new(fd, readable)));
        let deadline = self.loopback.as_ref().and_then(Loopback::deadline);
        while let Err(error) = poll(&mut fds, until(deadline)) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        let mut ready = self.sort(&fds[..own]);
        ready.loopback = fds[own..].iter().any(|fd| fd.any().unwrap_or(true))
            || deadline.is_some_and(|deadline| deadline <= Instant::now());
        Ok(ready)
    }

    fn sort(&self, fds: &[PollFd]) -> Ready {
        let outputs = self.stdio.outputs.len();
        let mut ready = Ready::default();
        for (index, fd) in fds.iter().enumerate() {
            let events = fd.revents().unwrap_or(PollFlags::empty());
            if events.is_empty() {
                continue;
            }
            // An error or a hang-up is found by reading.
            let (readable, writable) = (events != PollFlags::POLLOUT, events.contains(PollFlags::POLLOUT));
            match index {
                0 => ready.signals = true,
                1 => ready.listener = true,
                _ if index < 2 + outputs => ready.outputs.push(index - 2),
                _ if index < 2 + outputs + self.clients.len() => {
                    ready.clients.push((index - 2 - outputs, readable, writable));
                }
                _ => ready.input = true,
            }
        }
        ready
    }

    /// Copies one piece of the output at `index`; false when there was none, or it has ended.
    fn pump(&mut self, index: usize) -> bool {
        let stream = self.stdio.outputs[index].0;
        match self.stdio.read(index, &mut self.buffer) {
            None => {
                self.log.finish(stream);
                self.stdio.outputs.remove(index);
                false
            }
            Some(0) => false,
            Some(length) => {
                let bytes = &self.buffer[..length];
                self.log.write(stream, bytes);
                if self.clients.iter().any(|client| client.wants(stream)) {
                    self.broadcast(&Frame::Output(stream, bytes.to_vec()), |client| client.wants(stream));
                }
                true
            }
        }
    }

    fn broadcast(&mut self, frame: &Frame, to: impl Fn(&Client) -> bool) {
        let mut bytes = Vec::new();
        if frame.encode(&mut bytes).is_err() {
            return;
        }
        // From the last to the first, as one that is gone is removed.
        for index in (0..self.clients.len()).rev() {
            let client = &mut self.clients[index];
            if to(client) && client.send(&bytes).is_err() {
                self.remove(index);
            }
        }
    }

    fn accept(&mut self) {
        // One that is gone already, or too many at once: it will try again.
        if let Ok((socket, _)) = self.listener.accept()
            && let Ok(client) = Client::new(socket, Default::default(), &self.overflow)
        {
            self.clients.push(client);
        }
    }

    fn serve(&mut self, (index, readable, writable): (usize, bool, bool)) {
        if writable && self.clients[index].flush().is_err() {
            return self.remove(index);
        }
        if !readable {
            return;
        }
        match self.clients[index].receive(&mut self.buffer) {
            Received::Gone => self.remove(index),
            Received::Frames(frames) => frames.into_iter().for_each(|frame| self.obey(index, frame)),
        }
    }

    fn obey(&mut self, index: usize, frame: Frame) {
        let client = &mut self.clients[index];
        match frame {
            Frame::Attach(streams) => client.attach(streams),
            Frame::Stdin(bytes) if client.feeds_stdin() => {
                if let Some(input) = &mut self.stdio.input {
                    input.push(&bytes);
                    self.feed();
                }
            }
            Frame::StdinEnd if client.owns_stdin => self.end_input(),
            Frame::Detach => client.owns_stdin = false,
            Frame::Resize(size) => self.stdio.resize(size),
            Frame::Signal(number) => {
                // SAFETY: kill(2) takes two integers. The init process is our child and not reaped yet, so its id is
                // nobody else's.
                unsafe { libc::kill(self.init.as_raw(), number) };
            }
            Frame::Relay(relays) => {
                let warnings = self.relay(&relays);
                let mut answer = Vec::new();
                if Frame::Relayed(warnings).encode(&mut answer).is_ok() {
                    // A client that is gone is found by reading.
                    let _ = self.clients[index].send(&answer);
                }
            }
            // Nothing that a client has to say.
            _ => {}
        }
    }

    /// Relays these from `::1`, and nothing else; gives what is wrong.
    pub(super) fn relay(&mut self, relays: &[Relay]) -> Vec<String> {
        if relays.is_empty() && self.loopback.is_none() {
            return Vec::new();
        }
        if self.loopback.is_none() {
            match Loopback::new() {
                Ok(loopback) => self.loopback = Some(loopback),
                Err(error) => return vec![format!("nothing is served at [::1]: {error}")],
            }
        }
        self.loopback
            .as_mut()
            .map_or_else(Vec::new, |loopback| loopback.set(relays))
    }

    fn remove(&mut self, index: usize) {
        let client = self.clients.remove(index);
        if client.owns_stdin {
            self.end_input();
        }
    }

    fn end_input(&mut self) {
        if let Some(input) = &mut self.stdio.input {
            input.end();
        }
        self.feed();
    }

    fn feed(&mut self) {
        if self.stdio.input.as_mut().is_some_and(|input| !input.flush()) {
            self.stdio.input = None;
        }
    }

    /// Reaps every process that has ended; the status is init's.
    fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        while self.signals.read_signal()?.is_some() {}
        let mut status = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.init => {
                    status = Some(ExitStatus { code, signal: None });
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.init => {
                    let signal = signal as i32;
                    status = Some(ExitStatus {
                        code: 128 + signal,
                        signal: Some(signal),
                    });
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(status),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what is left. With init, every process of the container has ended; a stream that is still open then has
    /// been given away, and is not waited for.
    fn drain(&mut self) {
        for index in (0..self.stdio.outputs.len()).rev() {
            while self.pump(index) {}
        }
        for (stream, _) in std::mem::take(&mut self.stdio.outputs) {
            self.log.finish(stream);
        }
        self.stdio.input = None;
    }

    /// Tells every client how the container ended, and waits until each has read everything or is gone.
    pub(super) fn dismiss(mut self, status: ExitStatus) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        while let Ok((socket, _)) = self.listener.accept() {
            self.clients
                .extend(Client::new(socket, Default::default(), &self.overflow));
        }
        self.broadcast(&Frame::Exit(status), |_| true);
        loop {
            self.clients.retain(Client::has_output);
            if self.clients.is_empty() {
                return Ok(());
            }
            let writable = |client| PollFd::new(Client::fd(client), PollFlags::POLLOUT);
            let mut fds: Vec<_> = self.clients.iter().map(writable).collect();
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.clients.retain_mut(|client| client.flush().is_ok());
        }
    }
}

/// How long to wait; rounded up, so as not to come too early again and again.
fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use nix::sys::signal::SigSet;

    use super::*;
    use crate::containers::paths::ContainerPaths;
    use crate::runtime::ProcessStdio;
    use crate::shim::protocol::{OutputStream, StartRequest, Streams};
    use crate::shim::stdio::Pending;

    #[test]
    fn a_client_lost_while_it_is_written_to_ends_its_input() {
        let dir = tempfile::tempdir().unwrap();
        let request = StartRequest {
            paths: ContainerPaths::new(dir.path(), dir.path(), "a1"),
            runtime: None,
            tty: false,
            open_stdin: true,
            window: None,
            attach: None,
            relays: Vec::new(),
        };
        let (pending, theirs) = Pending::new(&request, dir.path()).unwrap();
        let ProcessStdio::Descriptors { stdin, .. } = theirs else {
            panic!("no terminal was asked for");
        };
        let mut server = Server {
            init: Pid::this(),
            stdio: pending.ready().unwrap(),
            log: ContainerLog::open(&dir.path().join("log")).unwrap(),
            listener: UnixListener::bind(dir.path().join("socket")).unwrap(),
            signals: SignalFd::new(&SigSet::empty()).unwrap(),
            clients: Vec::new(),
            overflow: dir.path().to_owned(),
            buffer: Vec::new(),
            loopback: None,
        };
        let (shim, gone) = UnixStream::pair().unwrap();
        let mut client = Client::new(shim, Streams::default(), dir.path()).unwrap();
        client.owns_stdin = true;
        server.clients.push(client);
        drop(gone);
        server.broadcast(&Frame::Output(OutputStream::Stdout, b"x".to_vec()), |_| true);
        assert!(server.clients.is_empty());
        assert!(server.stdio.input.is_none());
        assert_eq!(std::fs::File::from(stdin).read(&mut [0]).unwrap(), 0);
    }
}
