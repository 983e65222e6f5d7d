//! Seccomp filters, compiled once. Compiling Docker's profile takes several milliseconds, loading what came out a few
//! microseconds; so the first container of a boot compiles, and those after it find the result in a file.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek};
use std::path::Path;

use libcontainer::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::MemfdFlags;

use crate::private;

/// Bytes of one instruction (`struct sock_filter`, linux/filter.h).
const INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// Bytes of the checksum at the end of a cached filter.
const CHECKSUM: usize = 8;

/// A filter as the kernel takes it.
#[derive(Clone)]
pub(super) struct Filter(Vec<libc::sock_filter>);

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// libseccomp does not take a rule.
    #[error("cannot compile the seccomp profile: {0}")]
    Compile(#[from] SeccompError),
    /// A word of the profile that has no meaning here.
    #[error("the seccomp profile has {0}, which is not supported")]
    Unsupported(String),
    /// The compiled filter cannot be taken over.
    #[error("cannot read the compiled seccomp profile: {0}")]
    Export(#[from] io::Error),
    /// The profile cannot be told from others.
    #[error("cannot read the seccomp profile: {0}")]
    Profile(#[from] serde_json::Error),
}

impl Filter {
    /// The filter of `profile`, from the directory `cache` if it was compiled before.
    ///
    /// # Errors
    /// [`FilterError`]. That the result cannot be kept is no error.
    pub(super) fn of(profile: &LinuxSeccomp, cache: &Path) -> Result<Self, FilterError> {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(profile)?.hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        let file = cache.join(format!("{:016x}.bpf", hasher.finish()));
        if let Some(filter) = fs::read(&file)
            .ok()
            .and_then(|bytes| Filter::from_bytes(verified(&bytes)?))
        {
            return Ok(filter);
        }
        let bytes = compile(profile)?;
        // Only the next container is slower for it.
        let _ = keep(&file, &[&bytes[..], &checksum(&bytes)].concat());
        Filter::from_bytes(&bytes).ok_or_else(|| FilterError::Unsupported("no instruction".to_owned()))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(INSTRUCTION) {
            return None;
        }
        let instruction = |bytes: &[u8]| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        Some(Filter(bytes.chunks_exact(INSTRUCTION).map(instruction).collect()))
    }

    /// Binds the calling thread to the filter, for ever.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN in the thread's user namespace, or when the kernel does not take the filter.
    pub(super) fn load(&self) -> io::Result<()> {
        // The kernel takes at most 4,096 instructions (BPF_MAXINSNS).
        let len = u16::try_from(self.0.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog {
            len,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: `program` points to as many instructions as it says, and the kernel only reads them.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// What stands at the end of a cached filter: a file that a crash of the machine has cut short or left with blocks of
/// zeros would let everything pass, or nothing.
fn checksum(instructions: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = DefaultHasher::new();
    instructions.hash(&mut hasher);
    hasher.finish().to_ne_bytes()
}

/// The instructions of a cached filter, if its checksum is theirs.
fn verified(file: &[u8]) -> Option<&[u8]> {
    let (instructions, sum) = file.split_last_chunk()?;
    (*sum == checksum(instructions)).then_some(instructions)
}

/// Writes the whole file or none: another container may be reading it.
fn keep(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        private::create_dir(directory)?;
    }
    let unfinished = file.with_extension(std::process::id().to_string());
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, file).inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default)?;
    for name in profile.architectures().iter().flatten() {
        context.add_arch(architecture(*name)?)?;
    }
    for rule in profile.syscalls().iter().flatten() {
        add_rule(&mut context, rule, default)?;
    }
    export(&context)
}

/// The filter's instructions, by way of a file in memory.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, FilterError> {
    let mut file =
        fs::File::from(rustix::fs::memfd_create("filter.bpf", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    context.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn add_rule(context: &mut ScmpFilterContext, rule: &LinuxSyscall, default: ScmpAction) -> Result<(), FilterError> {
    let action = action(rule.action(), rule.errno_ret())?;
    if action == default {
        return Ok(());
    }
    let arguments = rule
        .args()
        .iter()
        .flatten()
        .map(comparison)
        .collect::<Result<Vec<_>, _>>()?;
    let indexes: HashSet<usize> = rule.args().iter().flatten().map(LinuxSeccompArg::index).collect();
    for name in rule.names() {
        // A name that this libseccomp does not know is a system call that is not there.
        let Ok(syscall) = ScmpSyscall::from_name(name) else {
            continue;
        };
        if indexes.len() == arguments.len() {
            context.add_rule_conditional(action, syscall, &arguments)?;
        } else {
            // A rule can look at an argument once; several looks at one are alternatives (runc does the same).
            for argument in &arguments {
                context.add_rule_conditional(action, syscall, std::slice::from_ref(argument))?;
            }
        }
    }
    Ok(())
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, FilterError> {
    let errno = errno.map_or(libc::EPERM, |errno| errno as i32);
    match action {
        LinuxSeccompAction::ScmpActAllow => Ok(ScmpAction::Allow),
        LinuxSeccompAction::ScmpActErrno => Ok(ScmpAction::Errno(errno)),
        LinuxSeccompAction::ScmpActKillProcess => Ok(ScmpAction::KillProcess),
        LinuxSeccompAction::ScmpActLog => Ok(ScmpAction::Log),
        other => Err(FilterError::Unsupported(format!("action {other:?}"))),
    }
}

fn architecture(name: Arch) -> Result<ScmpArch, FilterError> {
    match name {
        Arch::ScmpArchNative => Ok(ScmpArch::Native),
        Arch::ScmpArchX86 => Ok(ScmpArch::X86),
        Arch::ScmpArchX86_64 => Ok(ScmpArch::X8664),
        Arch::ScmpArchX32 => Ok(ScmpArch::X32),
        Arch::ScmpArchArm => Ok(ScmpArch::Arm),
        Arch::ScmpArchAarch64 => Ok(ScmpArch::Aarch64),
        other => Err(FilterError::Unsupported(format!("architecture {other:?}"))),
    }
}

/// In `SCMP_CMP_MASKED_EQ`, `value` is the mask and `valueTwo` what is compared with (OCI runtime specification,
/// seccomp).
fn comparison(argument: &LinuxSeccompArg) -> Result<ScmpArgCompare, FilterError> {
    let (value, second) = (argument.value(), argument.value_two().unwrap_or_default());
    let (operator, datum) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, value),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(value), second),
    };
    let index = u32::try_from(argument.index()).map_err(|_| FilterError::Unsupported("argument".to_owned()))?;
    Ok(ScmpArgCompare::new(index, operator, datum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{capabilities, seccomp};

    #[test]
    fn a_filter_is_compiled_once_and_found_again() {
        let cache = tempfile::tempdir().unwrap();
        let profile = seccomp::profile(&capabilities::DEFAULT).unwrap();
        let compiled = Filter::of(&profile, cache.path()).unwrap();
        assert!(compiled.0.len() > 300);
        let files: Vec<_> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1);
        assert_eq!(
            fs::read(&files[0]).unwrap().len(),
            compiled.0.len() * INSTRUCTION + CHECKSUM
        );
        assert_eq!(Filter::of(&profile, cache.path()).unwrap().0.len(), compiled.0.len());

        // What is no longer what was written is not taken for a filter, and is mended.
        let whole = fs::read(&files[0]).unwrap();
        let mut zeros = whole.clone();
        zeros[64..128].fill(0);
        for damaged in [&b"half"[..], &whole[..INSTRUCTION * 20], &zeros, &[]] {
            fs::write(&files[0], damaged).unwrap();
            assert_eq!(Filter::of(&profile, cache.path()).unwrap().0.len(), compiled.0.len());
            assert!(fs::read(&files[0]).unwrap() == whole);
        }
        assert_eq!(
            fs::read(&files[0]).unwrap().len(),
            compiled.0.len() * INSTRUCTION + CHECKSUM
        );
    }

    #[test]
    fn another_profile_is_another_filter() {
        let cache = tempfile::tempdir().unwrap();
        for capabilities in [&capabilities::DEFAULT[..], &[]] {
            Filter::of(&seccomp::profile(capabilities).unwrap(), cache.path()).unwrap();
        }
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_error() {
        let profile = seccomp::profile(&capabilities::DEFAULT).unwrap();
        assert!(Filter::of(&profile, Path::new("/proc/nowhere")).is_ok());
    }
}
