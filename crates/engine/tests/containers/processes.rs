//! `exec`, and OCI runtime programs.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use zdocker_engine::signals::Signal;

use crate::fixture::{TestBox, Typist, succeed};
use crate::trials;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = trials![
        exec_is_confined_like_the_container,
        exec_ignores_no_signal,
        exec_takes_input_and_gives_an_exit_status,
        exec_with_a_terminal,
        exec_in_the_background,
        exec_errors_are_dockers,
        exec_leaves_nothing_in_the_run_directory,
    ];
    let no_runc = Command::new("runc").arg("--version").output().is_err();
    let external = trials![
        runc_runs_a_container,
        runc_enters_a_container,
        runc_says_why_a_command_cannot_run
    ];
    tests.extend(external.into_iter().map(|test| test.with_ignored_flag(no_runc)));
    tests.extend(trials![a_missing_runtime_is_named]);
    tests
}

const FOR_EVER: &str = "exec sleep 1000";

fn exec_is_confined_like_the_container() {
    let container = TestBox::new(FOR_EVER).with(|spec| spec.env = vec!["A=1".into()]);
    container.start();
    let status = "hostname; pwd; echo $A $B $HOME; id -u; (exit 3); echo fork $?; \
                  mount -t tmpfs x /tmp 2>/dev/null || echo no mount; \
                  grep -E '^(CapEff|CapBnd|CapInh|Seccomp|SigBlk):' /proc/self/status";
    let script = |flags: &[&str]| {
        let output = container.exec(&[flags, &["--", "sh", "-c", status]].concat());
        succeed(output)
    };
    let common = "fork 3\nno mount\nSigBlk:\t0000000000000000\n\
                  CapInh:\t0000000000000000\n";
    let root = format!(
        "testbox\n/\n1 2 /root\n0\n{common}CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n"
    );
    assert_eq!(script(&["-e", "B=2"]), root);
    let web = format!(
        "testbox\n/tmp\n1 3 /home/web\n1000\n{common}CapEff:\t0000000000000000\n\
         CapBnd:\t00000000a80425fb\nSeccomp:\t2\n"
    );
    assert_eq!(script(&["-e", "B=3", "-u", "web", "-w", "/tmp"]), web);
}

fn exec_ignores_no_signal() {
    let container = TestBox::new(FOR_EVER);
    container.start();
    let ignored = container.exec(&["--", "grep", "SigIgn", "/proc/self/status"]);
    assert_eq!(succeed(ignored), "SigIgn:\t0000000000000000\n");
}

fn exec_takes_input_and_gives_an_exit_status() {
    let container = TestBox::new(FOR_EVER);
    container.start();
    let mut client = container
        .role("exec", &["-", "-i", "--", "sh", "-c", "cat; echo err >&2; exit 42"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(b"typed").unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(42));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"typed"[..], &b"err\n"[..]));
    // Without -i there is no input.
    assert_eq!(
        succeed(container.exec(&["--", "readlink", "/proc/self/fd/0"])),
        "/dev/null\n"
    );
}

fn exec_with_a_terminal() {
    let container = TestBox::new(FOR_EVER);
    container.start();
    let mut typist = Typist::new(container.role(
        "exec",
        &["-", "-i", "-t", "--", "sh", "-c", "tty; echo $TERM; read x; exit $x"],
    ));
    typist.expect("/dev/pts/0\r\nxterm\r\n");
    typist.type_keys(b"17\r");
    assert_eq!(typist.code(), Some(17));
}

fn exec_in_the_background() {
    let container = TestBox::new("until test -e /tmp/done; do sleep 0.01; done; exit 21");
    container.start();
    assert_eq!(succeed(container.exec(&["-d", "--", "touch", "/tmp/done"])), "");
    container.assert_ended("Exited(ExitStatus { code: 21, signal: None })");
}

fn exec_errors_are_dockers() {
    let container = TestBox::new(FOR_EVER);
    container.start();
    let check = |args: &[&str], status, message: &str| {
        let output = container.exec(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.trim_end()), (Some(status), message));
    };
    check(&["--", "nosuch"], 127, "\"nosuch\": executable file not found in $PATH");
    check(&["--", "/tmp"], 126, "\"/tmp\": is a directory");
    check(
        &["-u", "nobody", "--", "true"],
        126,
        "unable to find user nobody: no matching entries in the container's /etc/passwd",
    );
    container.signal(Signal::KILL);
    container.assert_ended("Exited(ExitStatus { code: 137, signal: Some(9) })");
    check(
        &["--", "true"],
        125,
        &format!("container {} is not running", container.paths.id()),
    );
}

fn exec_leaves_nothing_in_the_run_directory() {
    let container = TestBox::new(FOR_EVER);
    container.start();
    let files = || {
        let dirs = [
            container.paths.run_dir(),
            container.paths.runtime_root().join(container.paths.id()),
        ];
        dirs.iter()
            .map(|dir| std::fs::read_dir(dir).unwrap().count())
            .collect::<Vec<_>>()
    };
    let before = files();
    succeed(container.exec(&["--", "true"]));
    Typist::new(container.role("exec", &["-", "-t", "--", "true"])).code();
    assert_eq!(container.exec(&["--", "nosuch"]).status.code(), Some(127));
    assert_eq!(files(), before);
}

fn by_runc(script: &str) -> TestBox {
    TestBox::new(script).with(|spec| spec.runtime = Some("runc".into()))
}

fn runc_runs_a_container() {
    let container = by_runc("echo out; (exit 3); echo fork $?; grep Seccomp: /proc/self/status; cat; exit 5")
        .with(|spec| spec.open_stdin = true);
    let mut client = container
        .role("run", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let mut text = String::new();
    client.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(5));
    assert_eq!(text, "out\nfork 3\nSeccomp:\t2\ntyped\n");
    container.assert_gone();

    let container = by_runc("tty; read x; exit $x").with(|spec| (spec.tty, spec.open_stdin) = (true, true));
    let mut typist = Typist::new(container.role("run", &[]));
    typist.expect("/dev/pts/0\r\n");
    typist.type_keys(b"12\r");
    assert_eq!(typist.code(), Some(12));
    container.assert_gone();
}

fn runc_enters_a_container() {
    let container = by_runc(FOR_EVER);
    container.start();
    assert_eq!(succeed(container.exec(&["-u", "web", "--", "id", "-u"])), "1000\n");
    assert_eq!(container.exec(&["--", "sh", "-c", "exit 9"]).status.code(), Some(9));
    assert_eq!(container.exec(&["--", "nosuch"]).status.code(), Some(127));
    let mut typist = Typist::new(container.role("exec", &["runc", "-i", "-t", "--", "sh", "-c", "read x; exit $x"]));
    typist.type_keys(b"18\r");
    assert_eq!(typist.code(), Some(18));
}

fn runc_says_why_a_command_cannot_run() {
    let check = |command: &str, status| {
        let container = by_runc("").args(&[command]);
        let output = container.run();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        container.assert_gone();
    };
    check("nosuch", 127);
    check("/tmp", 126);
}

fn a_missing_runtime_is_named() {
    let container = TestBox::new("").with(|spec| spec.runtime = Some("no-such-runtime".into()));
    let output = container.run();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(
        stderr.contains("cannot run the OCI runtime \"no-such-runtime\""),
        "{stderr}"
    );
}
