//! What the process of a container is given, and what comes of it.

use super::run_sh;
use crate::harness::Host;

#[test]
fn the_exit_status_is_the_commands_own() {
    let host = Host::new();
    host.z("run --rm --rootfs / -- true").ok();
    run_sh(&host, "--rm", "exit 42").exits(42);
    // A signal ends the container's process 1 from without alone.
    let mut command = host.zdocker_command(&[
        "run",
        "--name",
        "a",
        "--rootfs",
        "/",
        "--",
        "sh",
        "-c",
        "echo x; exec busybox sleep 1000",
    ]);
    let mut child = host.spawn(&mut command).unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 2]).unwrap();
    host.z("kill a").ok();
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn commands_that_cannot_be_run_end_with_126_or_127() {
    let host = Host::new();
    host.z("run --rm --rootfs / -- /etc/passwd")
        .exits(126)
        .says(&["/etc/passwd"]);
    host.z("run --rm --rootfs / -- /etc").exits(126).says(&["/etc"]);
    host.z("run --rm --rootfs / -- no-such-program")
        .exits(127)
        .says(&["no-such-program"]);
    host.z("run --rm --rootfs / -- /no/such/program")
        .exits(127)
        .says(&["/no/such/program"]);
    assert!(host.z("ps -aq").ok().text().is_empty());
}

#[test]
fn a_container_that_could_not_start_in_the_background_leaves_nothing_running() {
    let host = Host::new();
    host.z("network create n").ok();
    host.z("run -d --name x --net n -p 8080:80 --rootfs / -- no-such-program")
        .exits(127)
        .says(&["no-such-program"]);
    assert!(host.z("ps -q").ok().text().is_empty());
    host.z("rm -f x");
    host.z("run -d --name x --net n -p 8080:80 --rootfs / -- busybox sleep 100")
        .ok();
}

#[test]
fn output_and_errors_are_kept_apart() {
    let host = Host::new();
    let output = run_sh(&host, "--rm", "echo to stdout; echo to stderr >&2").ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("to stdout\n", "to stderr\n")
    );
}

#[test]
fn standard_input_is_passed_with_i() {
    let host = Host::new();
    let cat = ["run", "--rm", "-i", "--rootfs", "/", "--", "cat"];
    let much = (0..50_000).map(|n| format!("line {n}\n")).collect::<String>();
    let output = host.zdocker_fed(&cat, &much).ok();
    assert!(output.stdout == much, "{} bytes of {}", output.stdout.len(), much.len());
    let deaf = ["run", "--rm", "--rootfs", "/", "--", "cat"];
    assert_eq!(host.zdocker_fed(&deaf, "ignored").ok().stdout, "");
}

#[test]
fn much_output_arrives_whole() {
    let host = Host::new();
    let output = run_sh(&host, "--rm", "busybox seq 100000").ok();
    assert_eq!(output.stdout.lines().count(), 100_000);
    assert!(output.stdout.ends_with("\n100000\n"));
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let host = Host::new();
    let args = "run --rm -e A=1 -e B=with=sign --env C= -e FROM_HOST --hostname box --rootfs / -- env";
    let mut command = host.zdocker_command(&args.split_whitespace().collect::<Vec<_>>());
    command.env("FROM_HOST", "inherited").env("NOT_ASKED_FOR", "x");
    let output = host.finish(command, "").ok();
    let lines = output.stdout.lines().collect::<Vec<_>>();
    for expected in [
        "A=1",
        "B=with=sign",
        "C=",
        "FROM_HOST=inherited",
        "HOSTNAME=box",
        "HOME=/root",
    ] {
        assert!(lines.contains(&expected), "{expected} is not in {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("PATH=")), "{lines:?}");
    for foreign in ["NOT_ASKED_FOR", "ZDOCKER_"] {
        assert!(!output.stdout.contains(foreign), "{lines:?}");
    }
}

#[test]
fn working_directory_user_and_hostname() {
    let host = Host::new();
    let look = "pwd; id -u; id -g; hostname";
    let look = |options: &str| run_sh(&host, &format!("--rm {options}"), look).ok().stdout;
    assert_eq!(look("-w /usr/share --hostname box"), "/usr/share\n0\n0\nbox\n");
    assert_eq!(look("-u 1234:4321 --hostname box"), "/\n1234\n4321\nbox\n");
    assert_eq!(look("-u nobody --hostname box").lines().nth(1), Some("65534"));
    assert_eq!(look("-u nobody:daemon --hostname box").lines().nth(2), Some("1"));
    // As Docker does, a working directory that is not there is made.
    assert_eq!(
        look("-w /made/for/this --hostname box").lines().next(),
        Some("/made/for/this")
    );
}

#[test]
fn the_hostname_is_the_start_of_the_id() {
    let host = Host::new();
    let id = host
        .z("run -d --name a --rootfs / -- busybox sleep 1000")
        .ok()
        .text()
        .to_owned();
    assert_eq!(host.z("exec a hostname").ok().text(), &id[..12]);
}

#[test]
fn the_process_has_dockers_capabilities_and_a_seccomp_filter() {
    let host = Host::new();
    host.run("a", "");
    let look = "grep -E '^(CapEff|CapBnd|CapAmb|Seccomp|NoNewPrivs):' /proc/self/status";
    let expected = "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
                    NoNewPrivs:\t0\nSeccomp:\t2\n";
    assert_eq!(run_sh(&host, "--rm", look).ok().stdout, expected);
    assert_eq!(host.zdocker(&["exec", "a", "sh", "-c", look]).ok().stdout, expected);
    let user = run_sh(&host, "--rm -u 1000", look).ok();
    user.prints(&["CapEff:\t0000000000000000"]);
    host.zdocker(&["exec", "-u", "1000", "a", "sh", "-c", look])
        .ok()
        .prints(&["CapEff:\t0000000000000000"]);
}

#[test]
fn the_seccomp_filter_refuses_what_dockers_does() {
    let host = Host::new();
    host.run("a", "");
    // A new user namespace, a keyring and a mount: each needs no capability, or one that containers lack.
    for script in ["unshare -U true", "unshare -m true", "mount -t tmpfs tmpfs /mnt"] {
        assert_ne!(run_sh(&host, "--rm", script).status, 0, "{script}");
        assert_ne!(
            host.zdocker(&["exec", "a", "sh", "-c", script]).status,
            0,
            "{script} by exec"
        );
    }
}

#[test]
fn a_container_sees_its_own_processes_alone() {
    let host = Host::new();
    let seen = run_sh(&host, "--rm", "echo $$; ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm").ok();
    let lines = seen.stdout.lines().collect::<Vec<_>>();
    assert_eq!(lines[0], "1");
    assert!(lines[1].parse::<u32>().unwrap() <= 3, "{lines:?}");
    assert_eq!(lines[2], "sh");
}

#[test]
fn signals_to_the_command_reach_the_container() {
    let host = Host::new();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = host.zdocker_command(&["run", "--rm", "--name", "a", "--rootfs", "/", "--", "sh", "-c", script]);
    let mut child = host.spawn(&mut command).unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn another_runtime_can_be_used() {
    let host = Host::new();
    if host.program("runc", &["--version"]).status != 0 {
        crate::harness::skipped("runc is not installed");
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let output = run_sh(&host, "--rm --runtime runc --net n", "ip -br addr; exit 9").exits(9);
    output.prints(&["10.1.0.2"]);
    assert!(host.z("ps -aq").ok().text().is_empty());
}
