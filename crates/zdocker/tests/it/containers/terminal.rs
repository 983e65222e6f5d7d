//! Containers at a terminal.

use crate::harness::{Host, Terminal};

/// A prompt that does not appear in what is typed.
const PROMPT: &str = "<>";

/// A shell with [`PROMPT`], started by `zdocker ARGS`.
fn shell(host: &Host, args: &str) -> Terminal {
    let mut args = args.split_whitespace().collect::<Vec<_>>();
    args.extend(["env", "PS1=<>", "sh", "-i"]);
    let mut terminal = Terminal::open(host, &args);
    terminal.shows(PROMPT);
    terminal
}

/// Types `line` and returns what is shown until the next prompt.
fn answer(terminal: &mut Terminal, line: &str) -> String {
    terminal.types(&format!("{line}\n"));
    terminal.shows(PROMPT)
}

fn a_shell_can_be_worked_with(host: &Host, args: &str) {
    let mut terminal = shell(host, args);
    assert!(answer(&mut terminal, "tty").contains("/dev/"));
    assert!(answer(&mut terminal, "stty size").contains("30 100"));
    terminal.resize(40, 120);
    // The size comes a moment after the signal.
    terminal.types("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo re''sized\n");
    terminal.shows("resized");
    terminal.shows(PROMPT);
    // Ctrl-C ends the program at the terminal and not the shell.
    terminal.types("sh -c 'echo rea\"\"dy; exec busybox sleep 1000'\n");
    terminal.shows("ready");
    terminal.types("\x03");
    terminal.shows(PROMPT);
    assert!(answer(&mut terminal, "echo status $?").contains("status 130"));
    // Ctrl-Z stops it, and fg goes on with it.
    terminal.types("sh -c 'echo rea\"\"dy; while read line; do echo $line, in\"\"deed; done'\n");
    terminal.shows("ready");
    terminal.types("\x1a");
    terminal.shows("Stopped");
    terminal.shows(PROMPT);
    terminal.types("fg\nhello\n");
    terminal.shows("hello, indeed");
    terminal.types("\x03");
    terminal.shows(PROMPT);
    assert!(!terminal.is_cooked(), "keys go to the container as they are");
    terminal.types("exit 7\n");
    assert_eq!(terminal.status(), 7);
    assert!(terminal.is_cooked(), "the terminal is as it was");
}

#[test]
fn run_at_a_terminal() {
    let host = Host::new();
    a_shell_can_be_worked_with(&host, "run --rm -it --rootfs / --");
    a_shell_can_be_worked_with(&host, "run --rm -ti --rootfs / --");
}

#[test]
fn exec_at_a_terminal() {
    let host = Host::new();
    host.run("a", "");
    a_shell_can_be_worked_with(&host, "exec -it a");
}

#[test]
fn the_terminal_is_as_it_was_after_a_failure() {
    let host = Host::new();
    let mut terminal = Terminal::open(&host, &["run", "--rm", "-it", "--rootfs", "/", "--", "no-such-program"]);
    assert_eq!(terminal.status(), 127);
    assert!(terminal.is_cooked());
}

#[test]
fn the_end_of_input_ends_the_shell() {
    let host = Host::new();
    let mut terminal = shell(&host, "run --rm -it --rootfs / --");
    terminal.types("\x04");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn a_terminal_that_is_none_is_refused() {
    let host = Host::new();
    let refused = host.z("run --rm -it --rootfs / -- true");
    assert_ne!(refused.status, 0);
    refused.says(&["not a TTY"]);
}

#[test]
fn a_terminal_without_input_shows_output() {
    let host = Host::new();
    // -t alone gives the container a terminal of its own, also where there is none.
    let output = host
        .zdocker(&["run", "--rm", "-t", "--rootfs", "/", "--", "sh", "-c", "tty; echo x"])
        .ok();
    assert!(output.stdout.contains("/dev/"), "{}", output.stdout);
    assert!(output.stdout.contains("x\r\n"), "{:?}", output.stdout);
}
