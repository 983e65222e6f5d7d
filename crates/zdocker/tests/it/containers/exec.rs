//! More processes in a running container.

use std::fs;

use crate::harness::{Host, until_some};

#[test]
fn exec_runs_within_the_container() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let a = host.run("a", "--net n --hostname box -e GIVEN=by-run -w /usr");
    let script =
        "hostname; pwd; echo $GIVEN $EXTRA; ip -br addr show eth0; cat /proc/1/comm; readlink /proc/self/ns/pid";
    let output = host
        .zdocker(&["exec", "-e", "EXTRA=by-exec", "a", "sh", "-c", script])
        .ok();
    output.prints(&["box\n", "/usr\n", "by-run by-exec\n", "10.1.0.2/24", "busybox\n"]);
    let by_id = host.zdocker(&["exec", &a.id[..12], "hostname"]).ok();
    assert_eq!(by_id.text(), "box");
    assert_eq!(host.z("exec -w /tmp a pwd").ok().text(), "/tmp");
    assert_eq!(
        host.zdocker(&["exec", "-u", "1234:99", "a", "sh", "-c", "id -u; id -g"])
            .ok()
            .stdout,
        "1234\n99\n"
    );
}

#[test]
fn exec_passes_status_input_and_output() {
    let host = Host::new();
    host.run("a", "");
    host.zdocker(&["exec", "a", "sh", "-c", "exit 33"]).exits(33);
    host.zdocker(&["exec", "a", "sh", "-c", "kill -9 $$"]).exits(137);
    host.z("exec a no-such-program").exits(127).says(&["no-such-program"]);
    host.z("exec a /etc/passwd").exits(126).says(&["/etc/passwd"]);
    let output = host.zdocker(&["exec", "a", "sh", "-c", "echo out; echo err >&2"]).ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    let much = "0123456789abcdef\n".repeat(20_000);
    assert!(host.zdocker_fed(&["exec", "-i", "a", "cat"], &much).ok().stdout == much);
    assert_eq!(host.zdocker_fed(&["exec", "a", "cat"], "ignored").ok().stdout, "");
}

#[test]
fn exec_in_the_background_returns_at_once() {
    let host = Host::new();
    host.run("a", "");
    host.zdocker(&[
        "exec",
        "-d",
        "a",
        "sh",
        "-c",
        "echo made > /made; exec busybox sleep infinity",
    ])
    .ok();
    until_some("the file that the background process makes", || {
        (host.z("exec a cat /made").stdout == "made\n").then_some(())
    });
    host.z("stop -t 0 a").ok();
}

#[test]
fn exec_needs_a_running_container() {
    let host = Host::new();
    host.run("a", "");
    host.z("stop -t 0 a").ok();
    let refused = host.z("exec a true").says(&["a", "not running"]);
    assert!([1, 125].contains(&refused.status), "{refused:?}");
}

#[test]
fn the_end_of_the_container_ends_exec() {
    let host = Host::new();
    host.run("a", "");
    let mut command = host.zdocker_command(&["exec", "a", "sh", "-c", "echo ready; exec busybox sleep infinity"]);
    let mut exec = host.spawn(&mut command).unwrap();
    std::io::Read::read_exact(exec.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    host.z("kill a").ok();
    assert_eq!(exec.wait().unwrap().code(), Some(137));
}

#[test]
fn the_hosts_binary_cannot_be_written_to_from_a_container() {
    let host = Host::new();
    let container = host.run("a", "");
    let stat = fs::read_to_string(format!("/proc/{}/stat", container.pid)).unwrap();
    let shim = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    let mut command = host.zdocker_command(&["exec", "a", "sh", "-c", "echo x; exec busybox sleep 1000"]);
    let mut exec = host.spawn(&mut command).unwrap();
    std::io::Read::read_exact(exec.stdout.as_mut().unwrap(), &mut [0; 2]).unwrap();
    for pid in [shim, exec.id().to_string()] {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        assert_eq!(name, "zdocker\n");
        // Unlike writing, this is not refused just because the program runs.
        let program = format!("/proc/{pid}/exe");
        let permissions = fs::metadata(&program).unwrap().permissions();
        let error = fs::set_permissions(&program, permissions).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    host.z("rm -f a").ok();
    exec.wait().unwrap();
}

#[test]
fn exec_enters_a_network_that_outlives_its_first_container() {
    let host = Host::new();
    host.run("first", "--net none");
    host.run("second", "--net container:first");
    let namespace = host.z("exec second readlink /proc/self/ns/net").ok();
    host.z("rm -f first").ok();
    let still = host.z("exec second readlink /proc/self/ns/net").ok();
    assert_eq!(still.text(), namespace.text());
}
