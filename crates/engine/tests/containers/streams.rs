//! Standard streams, terminals, attaching.

use std::io::{Read, Write};
use std::process::Stdio;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zdocker_engine::logs::{self, LogOptions};
use zdocker_engine::terminal::WindowSize;

use crate::fixture::{TestBox, Typist};
use crate::roles::DETACHED;
use crate::trials;

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        input_and_its_end_reach_the_container,
        without_interactive_there_is_no_input,
        input_outlives_a_detached_start,
        a_slow_reader_holds_up_nobody_and_loses_nothing,
        a_broken_output_ends_the_client_only,
        signals_are_passed_on_without_a_terminal,
        a_terminal_has_the_size_of_the_callers,
        detaching_and_attaching_again,
        a_signal_ends_the_client_of_a_terminal_and_restores_it,
    ]
}

fn interactive(script: &str) -> TestBox {
    TestBox::new(script).with(|spec| spec.open_stdin = true)
}

fn with_terminal(script: &str) -> TestBox {
    interactive(script).with(|spec| spec.tty = true)
}

fn input_and_its_end_reach_the_container() {
    let container = interactive("cat; echo end");
    let mut client = container
        .role("run", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Binary, and more than any buffer on the way holds.
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let mut stdin = client.stdin.take().unwrap();
    let input = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let mut received = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(received.len(), sent.len() + 4);
    assert!(received.starts_with(&sent) && received.ends_with(b"end\n"));
    container.assert_gone();
}

fn without_interactive_there_is_no_input() {
    let container = TestBox::new("readlink /proc/self/fd/0; cat; echo end");
    let mut client = container
        .role("run", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    client.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "/dev/null\nend\n");
    client.wait().unwrap();
}

fn input_outlives_a_detached_start() {
    let container = interactive("read first; echo got $first; read second; echo got $second");
    container.start();
    for word in ["one", "two"] {
        let mut client = container
            .role("attach", &[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        writeln!(stdin, "{word}").unwrap();
        let mut text = [0; 8];
        client.stdout.take().unwrap().read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8_lossy(&text), format!("got {word}\n"));
        if word == "one" {
            // The end of an attached client's input is not the end of the container's.
            client.kill().unwrap();
        }
        client.wait().unwrap();
    }
    container.assert_ended("Exited(ExitStatus { code: 0, signal: None })");
}

fn a_slow_reader_holds_up_nobody_and_loses_nothing() {
    let container = TestBox::new("seq 300000; echo error >&2");
    let mut client = container
        .role("run", &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody has read anything, and yet the container ends, is logged and is cleaned up.
    container.assert_cleaned("Exited(ExitStatus { code: 0, signal: None })");
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    let mut logged = Vec::new();
    logs::copy(&container.paths, LogOptions::default(), &mut logged, &mut Vec::new()).unwrap();
    assert!(logged == expected.as_bytes());
    let mut received = String::new();
    client.stdout.take().unwrap().read_to_string(&mut received).unwrap();
    assert!(received == expected);
    assert!(client.wait().unwrap().success());
}

fn a_broken_output_ends_the_client_only() {
    let container = interactive("while read line; do echo $line; done; exit 5");
    let mut client = container
        .role("run", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(client.stdout.take());
    let mut stdin = client.stdin.take().unwrap();
    writeln!(stdin, "x").unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(100));
    container.assert_ended("Exited(ExitStatus { code: 5, signal: None })");
}

fn signals_are_passed_on_without_a_terminal() {
    let container = TestBox::new("trap 'echo usr1; exit 9' USR1; echo up; while :; do sleep 0.01; done");
    let mut client = container.role("run", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 3]).unwrap();
    kill(Pid::from_raw(client.id() as i32), Signal::SIGUSR1).unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), client.wait().unwrap().code()), ("usr1\n", Some(9)));
    container.assert_gone();
}

fn a_terminal_has_the_size_of_the_callers() {
    let container = with_terminal("tty; stty size; read x; stty size; echo $TERM >&2; exit 6");
    let mut typist = Typist::new(container.role("run", &[]));
    typist.expect("/dev/pts/0\r\n33 77\r\n");
    // The kernel sends SIGWINCH to the client, before it can read the keys.
    WindowSize { rows: 44, columns: 99 }.apply(&typist.master).unwrap();
    typist.type_keys(b"now\r");
    typist.expect("now\r\n44 99\r\nxterm\r\n");
    assert_eq!(typist.code(), Some(6));
    container.assert_gone();
}

fn detaching_and_attaching_again() {
    let container = with_terminal("echo ready; read x; echo got $x; exit 8");
    let mut typist = Typist::new(container.role("run", &[]));
    typist.expect("ready\r\n");
    typist.type_keys(b"a\x10b\x10\x11");
    assert_eq!(typist.code(), Some(DETACHED));
    assert!(container.init().is_alive().unwrap());
    let mut typist = Typist::new(container.role("attach", &["-t"]));
    typist.type_keys(b"c\r");
    typist.expect("got a\x10bc\r\n");
    assert_eq!(typist.code(), Some(8));
    container.assert_gone();
}

fn a_signal_ends_the_client_of_a_terminal_and_restores_it() {
    let container = with_terminal("echo ready; read x");
    let mut typist = Typist::new(container.role("run", &[]));
    let modes = |typist: &Typist| nix::sys::termios::tcgetattr(&typist.master).unwrap().local_flags;
    typist.expect("ready\r\n");
    let raw = modes(&typist);
    kill(Pid::from_raw(typist.child.id() as i32), Signal::SIGTERM).unwrap();
    let status = typist.child.wait().unwrap();
    assert_eq!(status.code(), Some(128 + 15));
    assert_ne!(modes(&typist), raw);
    assert!(container.init().is_alive().unwrap());
}
