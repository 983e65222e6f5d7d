//! What a container sees and may do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use zdocker_engine::containers::spec::{Mount, RootfsSource};

use crate::fixture::TestBox;
use crate::trials;

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        the_container_has_its_own_view,
        an_etc_file_that_leads_nowhere,
        the_environment_and_the_user,
        volumes_and_the_working_directory,
        forbidden_things_are_forbidden_and_forking_is_not,
        the_whole_host_as_root_file_system,
        a_network_namespace_by_path,
        the_hosts_network,
        other_users_of_the_host_see_nothing,
    ]
}

fn the_container_has_its_own_view() {
    let script = "hostname; cat /etc/hostname /etc/resolv.conf; grep -c localhost /etc/hosts; cat /proc/1/comm; \
                  echo changed > /etc/passwd; ls /sys/fs/cgroup | wc -l";
    let container = TestBox::new(script);
    let text = container.stdout();
    let (fixed, cgroups) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(fixed, "testbox\ntestbox\nnameserver 192.0.2.1\n2\nsh");
    assert_ne!(cgroups, "0");
    assert!(
        fs::read_to_string(container.tree().join("etc/passwd"))
            .unwrap()
            .starts_with("root:")
    );
    assert_eq!(
        fs::read_to_string(container.paths.upper().join("etc/passwd")).unwrap(),
        "changed\n"
    );
}

/// As with systemd-resolved, where `/run` is another file system.
fn an_etc_file_that_leads_nowhere() {
    let container = TestBox::new("cat /etc/resolv.conf");
    let link = container.tree().join("etc/resolv.conf");
    symlink("../run/systemd/resolve/stub-resolv.conf", &link).unwrap();
    assert_eq!(container.stdout(), "nameserver 192.0.2.1\n");
    assert!(link.is_symlink());
}

fn the_environment_and_the_user() {
    let container = TestBox::new("env; id").with(|spec| {
        spec.user = Some("web".into());
        spec.env = ["A=1", "B=x=y", "A=2", "HOME=/else"].map(String::from).to_vec();
    });
    let expected = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=testbox\nHOME=/else\n\
                    A=2\nB=x=y\nSHLVL=1\nPWD=/\nuid=1000(web) gid=1001(web) groups=29(audio),1001(web)\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&container.stdout()), sorted(expected));
}

fn volumes_and_the_working_directory() {
    let script = "pwd; echo written > rw/file; touch ro/file 2>/dev/null || echo read-only; ls ro";
    let container = TestBox::new(script);
    let sources = ["source with, and:no colon".replace(':', ";"), "read-only".into()];
    let sources = sources.map(|name| container.root.path().join(name));
    fs::create_dir_all(sources[1].join("visible")).unwrap();
    let volume = |source: &PathBuf, destination: &str, read_only| Mount {
        source: source.clone(),
        destination: destination.into(),
        read_only,
    };
    let container = container.with(|spec| {
        spec.cwd = "/new/dir".into();
        spec.mounts = vec![
            volume(&sources[0], "/new/dir/rw", false),
            volume(&sources[1], "/new/dir/ro", true),
        ];
    });
    assert_eq!(container.stdout(), "/new/dir\nread-only\nvisible\n");
    assert_eq!(fs::read_to_string(sources[0].join("file")).unwrap(), "written\n");
}

fn forbidden_things_are_forbidden_and_forking_is_not() {
    let script = "
        (exit 3); echo fork $?
        mount -t tmpfs none /tmp 2>/dev/null || echo no mount
        unshare -U true 2>/dev/null || echo no user namespace
        echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no sysctl
        touch /sys/x 2>/dev/null || echo no sysfs
        cat /proc/kcore | wc -c
        grep -E '^(CapEff|CapBnd|CapInh|CapAmb|Seccomp|NoNewPrivs|SigIgn|SigBlk):' /proc/self/status
        mknod /tmp/disk b 7 0; head -c 1 /tmp/disk 2>&1 >/dev/null | grep -o 'not permitted'
        ";
    let expected = "fork 3\nno mount\nno user namespace\nno sysctl\nno sysfs\n0\n\
                    SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nCapInh:\t0000000000000000\n\
                    CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
                    NoNewPrivs:\t0\nSeccomp:\t2\nnot permitted\n";
    assert_eq!(TestBox::new(script).stdout(), expected);
}

fn the_whole_host_as_root_file_system() {
    let container = TestBox::new("").with(|spec| spec.rootfs = RootfsSource::Directory("/".into()));
    fs::create_dir_all(container.paths.state_root()).unwrap();
    let name = format!("zdocker-test-{}", container.paths.id());
    // The temporary directory is on the host's root file system here or it is not: hidden in both cases.
    let script = format!(
        "ls -A {:?} {:?} 2>/dev/null | grep -v : | wc -w; echo x > /{name}; \
         ls /proc | grep -c '^[0-9]'; cat /proc/1/comm",
        container.paths.state_root(),
        container.paths.run_root(),
    );
    let container = container.args(&["/bin/sh", "-c", &script]);
    let text = container.stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("0", "sh"), "{text}");
    assert!(lines[1].parse::<u32>().unwrap() < 6, "{text}");
    assert!(!PathBuf::from("/").join(&name).exists());
    assert!(container.paths.upper().join(&name).exists());
    container.assert_gone();
}

fn a_network_namespace_by_path() {
    let mut holder = Command::new("unshare")
        .args(["-n", "sh", "-c", "echo; read x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let path = format!("/proc/{}/ns/net", holder.id());
    let namespace = fs::read_link(&path).unwrap();
    let script = "readlink /proc/self/ns/net; ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let container = TestBox::new(script);
    let output = container.role("run", &["--netns", &path]).output().unwrap();
    let text = crate::fixture::succeed(output);
    assert_eq!(text, format!("{}\nlo\n0\n", namespace.display()));
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

fn the_hosts_network() {
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    let script = "readlink /proc/self/ns/net; touch /sys/x 2>/dev/null || echo read-only; ls /sys/class/net | wc -l";
    let devices = fs::read_dir("/sys/class/net").unwrap().count();
    let text = TestBox::new(script).stdout();
    assert!(text.starts_with(&format!("{}\nread-only\n", here.display())), "{text}");
    assert!(!text.ends_with("\n0\n") || devices == 0, "{text}");
}

fn other_users_of_the_host_see_nothing() {
    let container = TestBox::new("echo up; exec sleep 1000").with(|spec| spec.user = Some("web".into()));
    container.start();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let paths = &container.paths;
    let files = [
        paths.log(),
        paths.bundle().join("config.json"),
        paths.attach_socket(),
        paths.shim_log(),
    ];
    assert_eq!(files.map(mode), [0o600; 4]);
    let directories = [
        paths.state_dir(),
        paths.run_dir(),
        paths.runtime_root(),
        paths.etc_file(""),
    ];
    assert_eq!(directories.map(mode), [0o700; 4]);
    let seen = container.exec(&["--", "cat", "/etc/hostname"]);
    assert_eq!(crate::fixture::succeed(seen), "testbox\n");
}
