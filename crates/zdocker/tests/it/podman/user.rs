//! An ordinary user on a host.

use std::process::Command;

use crate::compare::text;
use crate::harness::{Host, Output};

/// The user's directory: that of a test's own files, which others are not let in to, where nothing else is.
pub(super) const HOME: &str = "/media";
/// The user's directory until the next boot.
pub(super) const RUN: &str = "/run/user/47111";

/// Makes the user, whose number is nobody's on the machine itself, known on the host, with identifiers to give away
/// (subuid(5)), and lets everybody make tun devices, as udev does.
const MAKE_KNOWN: &str = "set -e
    chown 47111:47111 \"$0\"
    mount --bind \"$0\" /media
    mkdir -p /run/etc /run/dev /run/user/47111
    chown 47111:47111 /run/user/47111
    chmod 700 /run/user/47111
    for file in passwd group subuid subgid; do
        test ! -e /etc/$file || cp /etc/$file /run/etc/$file
    done
    echo 'ordinary:x:47111:47111::/media:/bin/sh' >>/run/etc/passwd
    echo 'ordinary:x:47111:' >>/run/etc/group
    echo 'ordinary:4711000:65536' >>/run/etc/subuid
    echo 'ordinary:4711000:65536' >>/run/etc/subgid
    for file in passwd group subuid subgid; do
        mount --bind /run/etc/$file /etc/$file
    done
    if test -e /dev/net/tun; then
        mknod -m 666 /run/dev/tun c 10 200
        mount --bind /run/dev/tun /dev/net/tun
    fi";

/// Has the user live on a host, whose `/run` is its own; not every machine lets us do all that it takes.
pub(super) fn move_in(host: &Host) -> Output {
    host.program("sh", &["-c", MAKE_KNOWN, &text(&host.scratch())])
}

/// Runs a program as the user, in the host's control groups: `GROUP.. -- PROGRAM ARGS`.
const RUN_AS: &str = "set -e
    while test \"$1\" != --; do
        leaf=$1/init
        test -d $leaf || leaf=$1
        echo 0 >$leaf/cgroup.procs
        shift
    done
    exec setpriv --reuid 47111 --regid 47111 --clear-groups \"$@\"";

/// A program that the user runs.
pub(super) fn command(host: &Host, program: &str, args: &[&str]) -> Command {
    // On the host, each is what the hierarchy is mounted at.
    let groups: Vec<String> = host
        .cgroups()
        .iter()
        .map(|group| text(group.parent().unwrap()))
        .collect();
    let mut words = vec!["-c", RUN_AS, "sh"];
    words.extend(groups.iter().map(String::as_str).chain(["--", program]));
    let mut command = host.command("sh", &[&words, args].concat());
    command.env("HOME", HOME).env("XDG_RUNTIME_DIR", RUN).current_dir("/");
    command
}
