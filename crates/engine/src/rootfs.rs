//! A container's root file system: an overlay whose lower layer is never written to.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};

use crate::containers::paths::ContainerPaths;
use crate::containers::spec::{RootfsSource, clean_absolute};
use crate::private;

/// Why a root file system could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A directory could not be made or used.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused the overlay.
    #[error("cannot mount an overlay of {lower:?} with its upper layer in {upper:?}: {reason}; {hint}")]
    Overlay {
        /// The read-only lower layer.
        lower: PathBuf,
        /// The writable upper layer.
        upper: PathBuf,
        /// What the kernel said.
        reason: String,
        /// What to do about it.
        hint: &'static str,
    },
}

/// What becomes of the container's writable layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritableLayer {
    /// It outlives the container's run.
    Kept,
    /// It is removed with the container: nothing of it is ever synced to the disk, which unmounting would otherwise
    /// wait for (`volatile`, Documentation/filesystems/overlayfs.rst).
    Discarded,
}

/// Mounts the container's root file system at [`ContainerPaths::merged`].
///
/// # Errors
/// When the source is no directory, or the kernel refuses the overlay.
pub fn mount(source: &RootfsSource, paths: &ContainerPaths, layer: WritableLayer) -> Result<(), RootfsError> {
    let RootfsSource::Directory(lower) = source;
    let (upper, work, merged) = (paths.upper(), paths.work(), paths.merged());
    let lower_dir = open_dir(lower, "use as root file system")?;
    paths.make_state_dir().map_err(failed("create", &paths.state_dir()))?;
    make_upper(lower, &upper)?;
    for dir in [&work, &merged] {
        private::create_dir(dir).map_err(failed("create", dir))?;
    }
    let [upper_dir, work_dir, merged_dir] = [
        open_dir(&upper, "open")?,
        open_dir(&work, "open")?,
        open_dir(&merged, "open")?,
    ];
    let refused = |context: Option<&OwnedFd>, error: Errno| RootfsError::Overlay {
        lower: lower.clone(),
        upper: upper.clone(),
        reason: context.and_then(kernel_message).unwrap_or_else(|| error.to_string()),
        hint: overlay_hint(error),
    };
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| refused(None, error))?;
    let mounted = configure(&context, &lower_dir, &upper_dir, &work_dir, layer)
        .map_err(|error| refused(Some(&context), error))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&mounted, "", &merged_dir, "", flags)
        .map_err(|error| failed("mount on", &merged)(error.into()))
}

/// Makes the upper layer. Its root is the container's root, so it belongs to whom the lower layer's belongs, and is
/// open to whom that is open.
fn make_upper(lower: &Path, upper: &Path) -> Result<(), RootfsError> {
    match fs::create_dir(upper) {
        Ok(()) => {}
        // What the container has made of it stays.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed("create", upper)(error)),
    }
    let like = fs::metadata(lower).map_err(failed("use as root file system", lower))?;
    std::os::unix::fs::chown(upper, Some(like.uid()), Some(like.gid()))
        .and_then(|()| fs::set_permissions(upper, like.permissions()))
        .map_err(failed("open to the container", upper))
}

/// The layers are named by descriptor: a path of any length and with any character, commas and colons included, needs
/// no escaping then. (fsconfig(2) takes at most 255 bytes.)
fn configure(
    context: &OwnedFd,
    lower: &File,
    upper: &File,
    work: &File,
    layer: WritableLayer,
) -> Result<OwnedFd, Errno> {
    rustix::mount::fsconfig_set_string(context, "source", "overlay")?;
    for (key, dir) in [("lowerdir", lower), ("upperdir", upper), ("workdir", work)] {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        rustix::mount::fsconfig_set_string(context, key, path)?;
    }
    if layer == WritableLayer::Discarded {
        rustix::mount::fsconfig_set_flag(context, "volatile")?;
    }
    rustix::mount::fsconfig_create(context)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn open_dir(path: &Path, action: &'static str) -> Result<File, RootfsError> {
    let flags = libc::O_DIRECTORY | libc::O_PATH;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(failed(action, path))
}

/// The last message that the kernel left in a file system context, such as
/// `e overlay: upper fs is not supported as upperdir`.
fn kernel_message(context: &OwnedFd) -> Option<String> {
    let mut last = None;
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        last = Some(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned());
    }
    last.map(|message| message.strip_prefix("e ").map(str::to_owned).unwrap_or(message))
}

fn overlay_hint(error: Errno) -> &'static str {
    match error {
        Errno::NODEV => "this kernel has no overlay file system: load it with `modprobe overlay`",
        Errno::PERM | Errno::ACCESS => "mounting needs root's CAP_SYS_ADMIN in this mount namespace",
        Errno::BUSY => "another mount uses the same upper layer: stop the container first",
        _ => {
            "put the state root (--root) on a file system that can hold an upper layer, \
             such as ext4, xfs, btrfs or tmpfs, and that is not itself an overlay"
        }
    }
}

/// Unmounts the root file system; "not mounted" is success. One that is still in use disappears from the host at once
/// and is gone when its last user is.
///
/// # Errors
/// When the kernel refuses.
pub fn unmount(paths: &ContainerPaths) -> Result<(), RootfsError> {
    let merged = paths.merged();
    loop {
        match rustix::mount::unmount(&merged, UnmountFlags::NOFOLLOW) {
            // Whatever was mounted more than once goes too.
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {
                rustix::mount::unmount(&merged, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                    .map_err(|error| failed("unmount", &merged)(error.into()))?;
            }
            Err(error) => return Err(failed("unmount", &merged)(error.into())),
        }
    }
}

/// The paths inside a root file system made from `source` at which `hidden` directories of the host would be visible.
pub fn visible_in(source: &RootfsSource, hidden: &[&Path]) -> Vec<PathBuf> {
    let RootfsSource::Directory(lower) = source;
    let Ok(lower) = lower.canonicalize() else {
        return Vec::new();
    };
    let inside = |path: &&Path| {
        let real = path.canonicalize().ok()?;
        Some(Path::new("/").join(real.strip_prefix(&lower).ok()?))
    };
    // A container whose root is itself hidden cannot be helped.
    hidden
        .iter()
        .filter_map(inside)
        .filter(|path| path != Path::new("/"))
        .collect()
}

/// A container's root directory, in which paths mean what they mean in the container: neither `..` nor a symbolic link
/// leads out of it.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

impl RootDir {
    /// Opens `path` as a root.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// The content of a text file; `None` when there is none.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn read(&self, path: &Path) -> io::Result<Option<String>> {
        let file = match self.open_in(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Makes the directory `path` and its parents where they are missing.
    ///
    /// # Errors
    /// As mkdir(2); also when the path is relative, or something of another kind is there.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = clean_absolute(path).ok_or(io::ErrorKind::InvalidInput)?;
        let mut parent = self.open_in(Path::new("/"), OFlags::PATH)?;
        let mut done = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            done.push(name);
            parent = self.enter(&parent, name, &done)?;
        }
        Ok(())
    }

    /// Makes `path` something that a file can be mounted on: an empty file where there is none, also in place of a
    /// symbolic link that leads nowhere, such as one into a file system of the host that is not part of the root.
    ///
    /// # Errors
    /// As open(2) and mkdir(2); also when the path is no file's.
    pub fn create_file(&self, path: &Path) -> io::Result<()> {
        match self.open_in(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::LOOP) => {}
            found => return Ok(found.map(drop)?),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.create_dir_all(parent)?;
        let parent = self.open_in(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        Ok(())
    }

    fn enter(&self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_in(path, flags) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => self.open_in(path, flags),
            Err(error) => Err(error),
        }
    }

    fn open_in(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            // EAGAIN: something was mounted or renamed meanwhile, and the kernel is not sure of a `..` (openat2(2)).
            match rustix::fs::openat2(self.0.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                found => return found,
            }
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> RootfsError {
    let path = path.to_owned();
    move |source| RootfsError::Io {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn paths(root: &Path) -> ContainerPaths {
        ContainerPaths::new(root, &root.join("run"), &"a1".repeat(32))
    }

    #[test]
    fn an_overlay_in_a_path_with_every_awkward_character_and_length() {
        let temporary = tempfile::tempdir().unwrap();
        let long = "x".repeat(200);
        let root = temporary.path().join("a b,c:d\\e=f\u{e4}").join(&long).join(long);
        let lower = root.join("lower:with,commas");
        fs::create_dir_all(&lower).unwrap();
        fs::write(lower.join("file"), "lower").unwrap();
        let (source, paths) = (RootfsSource::Directory(lower.clone()), paths(&root));
        mount(&source, &paths, WritableLayer::Kept).unwrap();
        assert_eq!(fs::read_to_string(paths.merged().join("file")).unwrap(), "lower");
        fs::write(paths.merged().join("file"), "upper").unwrap();
        assert_eq!(fs::read_to_string(lower.join("file")).unwrap(), "lower");

        let in_use = File::open(paths.merged().join("file")).unwrap();
        unmount(&paths).unwrap();
        unmount(&paths).unwrap();
        drop(in_use);
        assert!(fs::read_dir(paths.merged()).unwrap().next().is_none());
        assert_eq!(fs::read_to_string(paths.upper().join("file")).unwrap(), "upper");
    }

    #[test]
    fn the_whole_host_as_lower_layer_without_what_is_mounted_in_it() {
        let root = tempfile::tempdir().unwrap();
        let (source, paths) = (RootfsSource::Directory("/".into()), paths(root.path()));
        mount(&source, &paths, WritableLayer::Kept).unwrap();
        assert!(paths.merged().join("bin/sh").exists());
        assert!(!paths.merged().join("proc/self").exists());
        fs::write(paths.merged().join("only-in-the-container"), "").unwrap();
        assert!(!Path::new("/only-in-the-container").exists());
        unmount(&paths).unwrap();
    }

    #[test]
    fn the_root_is_as_open_as_the_source_and_what_is_above_it_is_closed() {
        let root = tempfile::tempdir().unwrap();
        let (lower, paths) = (root.path().join("lower"), paths(root.path()));
        fs::create_dir(&lower).unwrap();
        std::os::unix::fs::chown(&lower, Some(7), Some(8)).unwrap();
        fs::set_permissions(&lower, Permissions::from_mode(0o751)).unwrap();
        mount(&RootfsSource::Directory(lower), &paths, WritableLayer::Kept).unwrap();
        let look = |path: PathBuf| {
            let found = fs::metadata(path).unwrap();
            (found.mode() & 0o7777, found.uid(), found.gid())
        };
        assert_eq!(look(paths.merged()), (0o751, 7, 8));
        assert_eq!(look(paths.state_dir()), (0o700, 0, 0));
        assert_eq!(look(paths.state_root().join("containers")), (0o700, 0, 0));
        unmount(&paths).unwrap();
    }

    #[test]
    fn a_source_that_is_no_directory_is_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let error = mount(
            &RootfsSource::Directory(missing.clone()),
            &paths(root.path()),
            WritableLayer::Kept,
        )
        .unwrap_err();
        let expected = format!("cannot use as root file system {missing:?}: No such file or directory (os error 2)");
        assert_eq!(error.to_string(), expected);
        unmount(&paths(root.path())).unwrap();
        unmount(&paths(&missing)).unwrap();
    }

    #[test]
    fn hidden_directories_are_found_where_the_container_would_see_them() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("rootfs/var/state")).unwrap();
        symlink(root.join("rootfs/var/state"), root.join("link")).unwrap();
        let source = RootfsSource::Directory(root.join("rootfs"));
        let hidden = [&root.join("link"), &root, &root.join("missing"), &root.join("rootfs")];
        let hidden = hidden.map(PathBuf::as_path);
        assert_eq!(visible_in(&source, &hidden), [Path::new("/var/state")]);
    }

    #[test]
    fn paths_in_a_root_never_lead_out_of_it() {
        let temporary = tempfile::tempdir().unwrap();
        let rootfs = temporary.path().join("rootfs");
        fs::create_dir_all(rootfs.join("etc")).unwrap();
        fs::write(temporary.path().join("passwd"), "host").unwrap();
        fs::write(rootfs.join("passwd"), "container").unwrap();
        symlink(temporary.path().join("passwd"), rootfs.join("etc/absolute")).unwrap();
        symlink("../../passwd", rootfs.join("etc/relative")).unwrap();
        symlink("/new", rootfs.join("link")).unwrap();
        let root = RootDir::open(&rootfs).unwrap();
        assert_eq!(root.read(Path::new("/etc/absolute")).unwrap(), None);
        assert_eq!(root.read(Path::new("/etc/relative")).unwrap().unwrap(), "container");

        fs::create_dir(rootfs.join("new")).unwrap();
        root.create_dir_all(Path::new("/link/../link/a/b")).unwrap();
        assert!(rootfs.join("new/a/b").is_dir());
        assert!(root.create_dir_all(Path::new("/passwd/x")).is_err());
    }

    #[test]
    fn a_file_is_made_where_there_is_none_or_a_link_to_nowhere() {
        let rootfs = tempfile::tempdir().unwrap();
        let rootfs = rootfs.path();
        fs::create_dir(rootfs.join("etc")).unwrap();
        symlink("../run/systemd/resolve/stub-resolv.conf", rootfs.join("etc/dangling")).unwrap();
        symlink("loop", rootfs.join("etc/loop")).unwrap();
        fs::write(rootfs.join("there"), "kept").unwrap();
        symlink("/there", rootfs.join("etc/good")).unwrap();
        let root = RootDir::open(rootfs).unwrap();
        for name in ["etc/dangling", "etc/loop", "new/deep/file", "etc/good"] {
            root.create_file(&Path::new("/").join(name)).unwrap();
            assert!(rootfs.join(name).metadata().is_ok() || name == "etc/good", "{name}");
        }
        assert!(!rootfs.join("etc/dangling").is_symlink());
        assert!(rootfs.join("etc/good").is_symlink());
        assert_eq!(fs::read(rootfs.join("there")).unwrap(), b"kept");
        assert!(root.create_file(Path::new("/there/x")).is_err());
    }
}
