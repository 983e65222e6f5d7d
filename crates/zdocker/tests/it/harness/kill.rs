//! Commands that are killed at each step.

use super::command::Output;
use super::host::Host;
use super::snapshot::Snapshot;
use super::wait::skipped;

/// System calls by which a command changes the kernel's network, its namespaces and mounts, or starts a process.
pub(crate) const KERNEL: &str =
    "sendto,sendmsg,mount,umount2,unshare,setns,clone,clone3,fork,vfork,mkdir,unlink,rename";
/// System calls by which a command changes its records.
pub(crate) const RECORDS: &str = "pwrite64,fdatasync,ftruncate";

/// The words of `strace OPTIONS` that runs `zdocker ARGS` and sends it a signal before its `number`th system call of those in
/// `calls`.
pub(crate) fn signalled_at(options: &[&str], calls: &str, signal: &str, number: usize, args: &str) -> Vec<String> {
    let mut words = injecting(options, calls, signal, number);
    let command = [env!("CARGO_BIN_EXE_zdocker")]
        .into_iter()
        .chain(args.split_whitespace());
    words.extend(command.map(str::to_owned));
    words
}

/// The words of `strace OPTIONS` that send the command after them a signal before its `number`th system call of those in
/// `calls`.
pub(crate) fn injecting(options: &[&str], calls: &str, signal: &str, number: usize) -> Vec<String> {
    let inject = format!("inject={calls}:signal={signal}:when={number}");
    let trace = format!("trace={calls}");
    let quiet = ["-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    options.iter().copied().chain(quiet).map(str::to_owned).collect()
}

/// Runs `zdocker ARGS` and kills each of its processes before its `number`th system call of those in `calls`.
pub(crate) fn killed_at(host: &Host, calls: &str, number: usize, args: &str) -> Output {
    let words = signalled_at(&["-f"], calls, "KILL", number, args);
    host.program("strace", &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether commands can be killed at all; if not, the test says so.
pub(crate) fn has_strace(host: &Host) -> bool {
    let there = host.program("sh", &["-c", "command -v strace"]).status == 0;
    if !there {
        skipped("strace is not installed");
    }
    there
}

/// Kills `command` at its first (then every so many) call of `calls`, until it comes to its end. Before each, `prepare`
/// brings about what it works on; after each, `tidy` must bring the host back to what it was.
pub(crate) fn killed_at_each(
    host: &Host,
    (calls, stride): (&str, usize),
    prepare: impl Fn(),
    command: &str,
    tidy: impl Fn(),
) {
    let before = Snapshot::take(host);
    let mut kills = 0;
    for number in (1..).step_by(stride) {
        prepare();
        let output = killed_at(host, calls, number, command);
        tidy();
        before.assert_same(host);
        if output.status == 0 {
            break;
        }
        assert!(number < 500, "the command never gets to its end: {output:?}");
        kills += 1;
    }
    assert!(kills >= 2, "{command} was killed {kills} times only");
}
