//! Starting, ending, cleaning up.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Trial;
use zdocker_engine::logs::{self, LogOptions};
use zdocker_engine::shim;
use zdocker_engine::signals::{ProcessRef, Signal};

use crate::fixture::{TestBox, succeed};
use crate::roles;
use crate::trials;

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        a_foreground_container_ends_clean,
        a_command_that_cannot_run_says_why_as_docker_does,
        a_background_container_outlives_its_launcher,
        stop_is_polite_first,
        a_second_run_appends_to_the_log,
        a_launcher_that_dies_before_start_is_noticed,
        a_cancelled_shim_ends,
        a_killed_client_leaves_the_container_running,
        following_the_log_ends_with_the_container,
        a_shim_needs_less_than_a_mebibyte,
        a_process_given_away_does_not_hold_up_the_end,
    ]
}

fn a_foreground_container_ends_clean() {
    let container = TestBox::new("echo out; echo err >&2; exit 3");
    let output = container.run();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    container.assert_gone();
    assert_eq!(container.outcome(), "Exited(ExitStatus { code: 3, signal: None })");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    logs::copy(&container.paths, LogOptions::default(), &mut stdout, &mut stderr).unwrap();
    assert_eq!((&stdout[..], &stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
}

fn a_command_that_cannot_run_says_why_as_docker_does() {
    let check = |args: &[&str], status, message: &str| {
        let container = TestBox::new("").args(args);
        let file = |name: &str, text: &str, mode| {
            let path = container.tree().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        file("plain", "", 0o644);
        file("no-interpreter", "#!/no/such/file\n", 0o755);
        file("rubbish", "rubbish", 0o755);
        let output = container.run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.trim_end()), (Some(status), message));
        container.assert_gone();
        assert_eq!(container.outcome(), "");
    };
    check(&["nosuch"], 127, "\"nosuch\": executable file not found in $PATH");
    check(&["/nosuch"], 127, "\"/nosuch\": No such file or directory (os error 2)");
    check(&["/plain"], 126, "\"/plain\": Permission denied (os error 13)");
    check(&["/tmp"], 126, "\"/tmp\": is a directory");
    check(
        &["/no-interpreter"],
        127,
        "\"/no-interpreter\": No such file or directory (os error 2)",
    );
    check(&["/rubbish"], 126, "\"/rubbish\": Exec format error (os error 8)");
}

fn a_background_container_outlives_its_launcher() {
    let container = TestBox::new("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done");
    container.start();
    assert!(container.init().is_alive().unwrap());
    assert!(!container.cgroups().is_empty());
    let mut logs = container.role("logs", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    container.signal(Signal::TERM);
    assert_eq!(container.wait(), 7);
    assert_eq!(lines.next().unwrap().unwrap(), "bye");
    assert!(lines.next().is_none());
    logs.wait().unwrap();
    container.assert_gone();
}

fn stop_is_polite_first() {
    // A shell that is init ignores TERM: the kernel drops signals for init that have no handler.
    let container = TestBox::new("while :; do sleep 1; done");
    container.start();
    container.init().stop(Signal::TERM, Duration::from_millis(50)).unwrap();
    container.assert_ended("Exited(ExitStatus { code: 137, signal: Some(9) })");
}

fn a_second_run_appends_to_the_log() {
    let container = TestBox::new("echo again");
    assert_eq!(container.stdout(), "again\n");
    assert_eq!(container.stdout(), "again\n");
    let mut stdout = Vec::new();
    logs::copy(&container.paths, LogOptions::default(), &mut stdout, &mut Vec::new()).unwrap();
    assert_eq!(stdout, b"again\nagain\n");
    container.assert_gone();
}

fn a_launcher_that_dies_before_start_is_noticed() {
    let container = TestBox::new("echo never");
    succeed(container.role("vanish", &[]).output().unwrap());
    // The shim holds its log open; it is no child of ours, so its end is seen there.
    container.wait_for_outcome();
    assert_eq!(container.outcome(), "Abandoned");
}

fn a_cancelled_shim_ends() {
    let container = TestBox::new("");
    drop(container.role("run", &[]));
    let launcher = shim::spawn(roles::shim_command(&container.paths), &container.paths).unwrap();
    let process = ProcessRef::of(launcher.pid() as i32).unwrap();
    launcher.cancel();
    assert!(!process.is_alive().unwrap());
    assert_eq!(container.outcome(), "");
}

fn a_killed_client_leaves_the_container_running() {
    let container = TestBox::new("trap 'echo late; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    let mut client = container.role("run", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    container.signal(Signal::TERM);
    container.assert_ended("Exited(ExitStatus { code: 0, signal: None })");
    let mut stdout = Vec::new();
    logs::copy(&container.paths, LogOptions::default(), &mut stdout, &mut Vec::new()).unwrap();
    assert_eq!(stdout, b"up\nlate\n");
}

fn following_the_log_ends_with_the_container() {
    let container =
        TestBox::new("read x; for n in $(seq 1000); do echo line $n; done").with(|spec| spec.open_stdin = true);
    let mut client = container
        .role("run", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    container.wait_for_start();
    let mut logs = container.role("logs", &[]).stdout(Stdio::piped()).spawn().unwrap();
    drop(client.stdin.take());
    let mut text = String::new();
    logs.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    logs.wait().unwrap();
    client.wait().unwrap();
    let expected: String = (1..=1000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text, expected);
}

fn a_shim_needs_less_than_a_mebibyte() {
    let container = TestBox::new("echo up; exec sleep 1000");
    container.start();
    let proc = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", container.shim())).unwrap();
    let status = proc("status");
    assert!(status.contains("\nThreads:\t1\n"), "{status}");
    let own = field(&status, "RssAnon:") - relocated(&proc("smaps"));
    assert!(own <= 512, "{own} KiB, {status}");
    // Constants that hold addresses are the program's own once they are relocated: few in a release, many without
    // optimisation.
    if !cfg!(debug_assertions) {
        assert!(field(&status, "RssAnon:") <= 1024, "{status}");
    }
}

/// The number after `name` in a file of procfs.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How much of the program file's mappings is private memory, in KiB.
fn relocated(smaps: &str) -> u64 {
    // Told by its inode: the path is that within the shim's own mount.
    let program = fs::metadata("/proc/self/exe").unwrap().ino().to_string();
    let (mut inside, mut sum) = (false, 0);
    for line in smaps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields[0].contains('-') {
            inside = fields[4] == program;
        } else if inside && line.starts_with("Anonymous:") {
            sum += field(line, "Anonymous:");
        }
    }
    sum
}

fn a_process_given_away_does_not_hold_up_the_end() {
    // A process of the host that has the container's standard output open.
    let container = TestBox::new("echo up; read x; exit 4").with(|spec| spec.open_stdin = true);
    let mut client = container
        .role("run", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let theirs = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{}/fd/1", container.init().pid))
        .unwrap();
    drop(client.stdin.take());
    assert_eq!(client.wait().unwrap().code(), Some(4));
    drop(theirs);
    container.assert_gone();
}
