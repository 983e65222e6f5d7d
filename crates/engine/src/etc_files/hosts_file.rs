//! A container's `/etc/hosts` on the host's side. The container has the file itself mounted, so it is changed in place
//! and never replaced; a lock on its directory, which no container sees, keeps commands apart that change it at the
//! same time. A lock on the file itself could be held by the container for as long as it likes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::readable_by_all;

/// A line: an address and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsLine {
    address: IpAddr,
    pub(super) text: String,
}

impl HostsLine {
    /// The line that gives `names` to `address`, each once.
    pub fn new<'a>(address: IpAddr, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut listed: Vec<&str> = Vec::new();
        for name in names {
            if !listed.contains(&name) {
                listed.push(name);
            }
        }
        HostsLine {
            address,
            text: format!("{address}\t{}\n", listed.join(" ")),
        }
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// The longest file that is changed, in bytes. The container may make it as long as it likes, and no command is to hold
/// that much.
const LENGTH_MAX: u64 = 4 * 1024 * 1024;

/// The file, open, and nobody else at it.
#[derive(Debug)]
pub struct HostsFile {
    file: File,
    _lock: Flock<File>,
}

impl HostsFile {
    /// Opens the file, making it if it is not there yet.
    ///
    /// # Errors
    /// As open(2), flock(2) and chmod(2).
    pub fn create(path: &Path) -> io::Result<Self> {
        let lock = lock(path)?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        readable_by_all(path)?;
        Ok(HostsFile { file, _lock: lock })
    }

    /// Opens the file; `None` if it is not there.
    ///
    /// # Errors
    /// As open(2) and flock(2).
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let open = || {
            let lock = lock(path)?;
            let file = File::options().read(true).write(true).open(path)?;
            Ok::<_, io::Error>(HostsFile { file, _lock: lock })
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// What is in the file; `None` if it is too long for a list of names.
    fn text(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&self.file).take(LENGTH_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LENGTH_MAX {
            return Ok(None);
        }
        // What the container itself wrote there need not be text.
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Gives the file this content.
    ///
    /// # Errors
    /// As write(2).
    pub fn set(&mut self, text: &str) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)
    }

    /// Adds those of the lines that are not there. A file that its container has made too long is left alone.
    ///
    /// # Errors
    /// As read(2) and write(2).
    pub fn add(&mut self, lines: &[HostsLine]) -> io::Result<()> {
        let Some(text) = self.text()? else { return Ok(()) };
        let is_new = |line: &&HostsLine| !text.lines().any(|there| there == line.text.trim_end());
        let mut added: String = lines.iter().filter(is_new).map(|line| line.text.as_str()).collect();
        if added.is_empty() {
            return Ok(());
        }
        if !text.is_empty() && !text.ends_with('\n') {
            added.insert(0, '\n');
        }
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(added.as_bytes())
    }

    /// Takes the lines of these addresses out. A file that its container has made too long is left alone.
    ///
    /// # Errors
    /// As read(2) and write(2).
    pub fn remove(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let Some(text) = self.text()? else { return Ok(()) };
        let starts: Vec<String> = addresses.iter().map(|address| format!("{address}\t")).collect();
        let stays = |line: &&str| !starts.iter().any(|start| line.starts_with(start));
        let left: String = text.split_inclusive('\n').filter(stays).collect();
        if left == text { Ok(()) } else { self.set(&left) }
    }
}

/// Waits until nobody else is at the file.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    let directory = File::open(path.parent().unwrap_or(path))?;
    Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(address: &str, names: &[&str]) -> HostsLine {
        HostsLine::new(address.parse().unwrap(), names.iter().copied())
    }

    #[test]
    fn lines_come_once_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        assert!(HostsFile::open(&path).unwrap().is_none());
        HostsFile::create(&path).unwrap().set("127.0.0.1\tlocalhost").unwrap();
        let lines = [line("10.0.0.2", &["a", "b", "a"]), line("fd00::2", &["a"])];
        for _ in 0..2 {
            HostsFile::open(&path).unwrap().unwrap().add(&lines).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text, "127.0.0.1\tlocalhost\n10.0.0.2\ta b\nfd00::2\ta\n");
        }
        let gone = ["10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()];
        HostsFile::open(&path).unwrap().unwrap().remove(&gone).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "127.0.0.1\tlocalhost\nfd00::2\ta\n"
        );
    }

    #[test]
    fn the_file_stays_the_same_file() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        HostsFile::create(&path)
            .unwrap()
            .set("long content\n10.0.0.2\tx\n")
            .unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        HostsFile::open(&path).unwrap().unwrap().set("short\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn a_file_that_is_made_too_long_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        let mut file = HostsFile::create(&path).unwrap();
        // All but nothing on the disk, and far more than there is memory.
        let length = 1 << 42;
        file.file.set_len(length).unwrap();
        file.add(&[line("10.0.0.2", &["a"])]).unwrap();
        file.remove(&["10.0.0.2".parse().unwrap()]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
        file.set("a\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n");
    }
}
