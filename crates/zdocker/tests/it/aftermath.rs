//! What dead processes left does not stand in anybody's way, and what the living hold is not taken from them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::*;

/// Kills every process of the host at once: containers, shims, commands.
fn kill_all(host: &Host) {
    // In the host's own process namespace, where it spares process 1 and the shell itself.
    host.program("/usr/bin/busybox", &["sh", "-c", "kill -9 -1"]);
    until("all but process 1 are dead", || {
        let processes = fs::read_dir(host.proc()).unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.filter(|number| *number != 1).count() == 0
    });
}

#[test]
fn what_a_container_that_died_unseen_holds_is_free_for_the_next() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let held = "--net n --ip 10.1.0.9 -p 8080:80";
    host.run("first", held);
    kill_all(&host);
    // No ps or check comes between.
    host.run("second", held);
    let all = host.z("ps -a").ok();
    all.prints(&["first", "Exited (255)", "second", "0.0.0.0:8080->80/tcp"]);
    // The name of one that ended stays its own; that of one that was to remove itself is free.
    host.z("run -d --name first --net none --rootfs / -- busybox sleep 9")
        .exits(125)
        .says(&["first", "in use"]);
    host.run("passing", "--rm --net none");
    kill_all(&host);
    host.run("passing", "--net none");
}

#[test]
fn a_container_that_cannot_be_cleaned_up_keeps_nobody_from_anything() {
    let host = Host::new();
    let stuck = host.run("stuck", "--rm --net none");
    let id = host.z("ps -q --no-trunc").ok().stdout.trim().to_owned();
    kill_all(&host);
    // A directory that something is mounted on cannot be removed.
    let busy = host.root().join("containers").join(&id).join("upper/busy");
    let busy = busy.to_str().unwrap();
    host.program("mkdir", &["-p", busy]).ok();
    host.program("mount", &["-t", "tmpfs", "busy", busy]).ok();
    drop(stuck);
    host.z("network ls").ok().says(&["stuck"]);
    host.run("other", "");
    host.z("logs other").ok();
    host.z("stop -t 0 other").ok();
    host.z("rm stuck").exits(1).says(&["stuck"]);
    host.program("umount", &[busy]).ok();
    host.z("ps -a").ok();
    assert!(!host.z("ps -a").ok().stdout.contains("stuck"));
    assert!(!host.root().join("containers").join(&id).exists());
}

#[test]
fn a_container_that_is_being_made_is_not_removed() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    // A runtime that waits to be told, and then fails.
    let runtime = host.scratch().join("runtime");
    let gate = host.scratch().join("gate");
    host.program("mkfifo", &[gate.to_str().unwrap()]).ok();
    fs::write(
        &runtime,
        format!(
            "#!/bin/sh\ncase \"$*\" in *create*) cat '{}'; exit 1;; esac\n",
            gate.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let words = [
        "run",
        "-d",
        "--name",
        "slow",
        "--net",
        "n",
        "--ip",
        "10.1.0.9",
        "--runtime",
    ];
    let mut command = host.zdocker_command(&words);
    command.arg(&runtime).args(["--rootfs", "/", "--", "true"]);
    let mut run = host.spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    until("the container is being created", || {
        host.z("ps -aq").ok().stdout.trim().len() == 12
    });
    for verb in ["rm slow", "rm -f slow"] {
        host.z(verb).exits(1).says(&["slow", "is being created", "try again"]);
    }
    host.z("run --rm --net n --ip 10.1.0.9 --rootfs / -- true")
        .exits(125)
        .says(&["10.1.0.9"]);
    fs::write(&gate, "go on\n").unwrap();
    assert!(!run.wait().unwrap().success());
    assert!(host.z("ps -aq").ok().text().is_empty());
    host.z("run --rm --net n --ip 10.1.0.9 --rootfs / -- true").ok();
}

#[test]
fn nobody_but_root_looks_into_the_state() {
    let host = Host::new();
    host.run("a", "");
    for directory in [host.root(), host.run_root()] {
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", directory.display());
    }
}

#[test]
fn an_output_that_nobody_reads_is_no_error() {
    let host = Host::new();
    let zdocker = env!("CARGO_BIN_EXE_zdocker");
    let script = format!("'{zdocker}' network ls --format json | true; '{zdocker}' network ls | head -n 1");
    let output = host.program("sh", &["-c", &script]).ok();
    assert!(!output.stderr.contains("zdocker:"), "{}", output.stderr);
}
