//! `cni install`, `podman install`: the links and configurations by which other engines use this program, and taking
//! them back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cni::driver::NAMES;
use crate::harness::{Host, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zdocker");

/// Directories for one test, and a host to run the program on.
struct Place {
    host: Host,
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let host = Host::new();
        let root = host.scratch();
        Place { host, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file, and makes its directory.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// All that is below the root: what files say, where links lead.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let (mut tree, mut directories) = (BTreeMap::new(), vec![self.root.clone()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap();
                let text = if kind.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else if kind.is_dir() {
                    directories.push(path.clone());
                    "directory".to_owned()
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                tree.insert(path, text);
            }
        }
        tree
    }

    /// `zdocker cni VERB DIR`, with the plug-ins in `bin` and the configurations in `net.d`.
    fn cni(&self, verb: &str, more: &[&str]) -> Output {
        let (bin, conf_dir) = (self.path("bin"), self.path("net.d"));
        let mut args = vec![
            "cni",
            verb,
            bin.to_str().unwrap(),
            "--conf-dir",
            conf_dir.to_str().unwrap(),
        ];
        args.extend(more);
        self.host.zdocker(&args)
    }

    /// `zdocker podman VERB`, with the link in `links` and the configuration among the drop-ins of `etc`.
    fn podman(&self, verb: &str, more: &[&str]) -> Output {
        let (links, conf) = (self.path("links"), self.path("etc/containers.conf.d/zdocker.conf"));
        let mut args = vec!["podman", verb, "--conf", conf.to_str().unwrap()];
        if verb == "install" {
            args.extend(["--dir", links.to_str().unwrap()]);
        }
        args.extend(more);
        self.host.zdocker(&args)
    }

    #[track_caller]
    fn changes_nothing(&self, act: impl FnOnce() -> Output) -> Output {
        let before = self.tree();
        let output = act();
        assert_eq!(self.tree(), before);
        output
    }
}

fn leads_here(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target == fs::canonicalize(PROGRAM).unwrap())
}

#[test]
fn cni_links_come_and_go() {
    let place = Place::new();
    place.write("bin/dhcp", "another plug-in");
    place.write("net.d/10-other.conflist", "{}");
    let before = place.tree();

    let announced = place
        .changes_nothing(|| place.cni("install", &["--dry-run"]).ok())
        .stdout;
    let done = place.cni("install", &[]).ok().stdout;
    assert_eq!(announced, done);
    for name in NAMES {
        assert!(leads_here(&place.path("bin").join(name)), "{name}");
        assert!(
            done.lines()
                .any(|line| line.starts_with("ln -s") && line.ends_with(&format!("/{name}")))
        );
    }
    let sample: serde_json::Value = serde_json::from_str(&place.read("net.d/99-zdocker.conflist")).unwrap();
    assert_eq!(sample["plugins"][0]["type"], "zdocker-net");
    assert_eq!(place.tree().len(), before.len() + NAMES.len() + 1);

    assert_eq!(place.changes_nothing(|| place.cni("install", &[]).ok()).stdout, "");
    place
        .changes_nothing(|| place.cni("remove", &["--dry-run"]).ok())
        .prints(&["rm ", "/bridge", "99-zdocker.conflist"]);
    place.cni("remove", &[]).ok();
    assert_eq!(place.tree(), before);
    assert_eq!(place.changes_nothing(|| place.cni("remove", &[]).ok()).stdout, "");
}

/// Every link is the plug-in that it is named as.
#[test]
fn links_answer_as_plug_ins() {
    let place = Place::new();
    place.cni("install", &[]).ok();
    for name in NAMES {
        let link = place.path("bin").join(name);
        let mut command = place.host.command(link.to_str().unwrap(), &[]);
        command.env("CNI_COMMAND", "VERSION");
        let answer = place.host.finish(command, r#"{"cniVersion": "1.0.0"}"#).ok().json();
        let versions = answer["supportedVersions"].as_array().unwrap();
        assert!(versions.contains(&"1.0.0".into()), "{name}: {answer}");
    }
    place.podman("install", &[]).ok();
    let link = place.path("links/netavark");
    let command = place.host.command(link.to_str().unwrap(), &["version"]);
    assert!(place.host.finish(command, "").ok().json()["version"].is_string());
}

#[test]
fn cni_directories_are_made() {
    let place = Place::new();
    place.cni("install", &[]).ok().prints(&["mkdir -p"]);
    assert!(leads_here(&place.path("bin/loopback")) && place.path("net.d/99-zdocker.conflist").is_file());
}

#[test]
fn others_plugins_are_moved_aside_by_force_alone() {
    let place = Place::new();
    place.write("bin/bridge", "the reference's");
    symlink("/usr/lib/cni/portmap", place.path("bin/portmap")).unwrap();
    let before = place.tree();

    place.changes_nothing(|| place.cni("install", &[]).exits(1)).says(&[
        "bridge, portmap",
        "--force",
        "before-zdocker",
    ]);
    place
        .cni("install", &["--force"])
        .ok()
        .prints(&["mv ", "bridge.before-zdocker", "portmap.before-zdocker"]);
    assert_eq!(place.read("bin/bridge.before-zdocker"), "the reference's");
    assert!(NAMES.iter().all(|name| leads_here(&place.path("bin").join(name))));
    place.changes_nothing(|| place.cni("install", &["--force"]).ok());

    // Somebody installs the reference's again: what was moved aside is not lost.
    fs::remove_file(place.path("bin/bridge")).unwrap();
    place.write("bin/bridge", "a newer one");
    place
        .changes_nothing(|| place.cni("install", &["--force"]).exits(1))
        .says(&["bridge.before-zdocker is there already"]);
    place.cni("remove", &[]).ok().says(&["bridge.before-zdocker stays"]);
    assert_eq!(place.read("bin/bridge"), "a newer one");
    fs::rename(place.path("bin/bridge.before-zdocker"), place.path("bin/bridge")).unwrap();
    fs::remove_dir(place.path("net.d")).unwrap();
    assert_eq!(place.tree(), before);
}

#[test]
fn what_is_the_users_stays() {
    let place = Place::new();
    place.cni("install", &[]).ok();
    place.write("net.d/99-zdocker.conflist", "{\"name\": \"mine\"}");
    // An older installation of the program is as good as ours.
    fs::remove_file(place.path("bin/bridge")).unwrap();
    symlink("/opt/zdocker-1.0/zdocker", place.path("bin/bridge")).unwrap();
    place.cni("install", &[]).ok().says(&["99-zdocker.conflist is there"]);
    assert!(leads_here(&place.path("bin/bridge")));
    place.cni("remove", &[]).ok().says(&["99-zdocker.conflist was changed"]);
    assert_eq!(place.read("net.d/99-zdocker.conflist"), "{\"name\": \"mine\"}");
    assert_eq!(fs::read_dir(place.path("bin")).unwrap().count(), 0);
}

#[test]
fn podman_link_and_configuration_come_and_go() {
    let place = Place::new();
    place.write(
        "etc/containers.conf",
        "[engine]\nhelper_binaries_dir = [\"/opt/one\"]\n",
    );
    place.write(
        "etc/containers.conf.d/10-site.conf",
        "[engine]\nhelper_binaries_dir = [\"/opt/two\", \"/opt/three\"]\n[network]\nnetwork_backend = \"cni\"\n",
    );
    place.write("etc/containers.conf.d/README", "no configuration");
    let before = place.tree();

    let announced = place
        .changes_nothing(|| place.podman("install", &["--dry-run"]).ok())
        .stdout;
    let done = place.podman("install", &[]).ok().says(&["stop them first"]).stdout;
    assert_eq!(announced, done);
    assert!(leads_here(&place.path("links/netavark")));
    let conf: toml::Table = place.read("etc/containers.conf.d/zdocker.conf").parse().unwrap();
    let expected = format!(
        "[network]\nnetwork_backend = \"netavark\"\n[engine]\nhelper_binaries_dir = [{:?}, \"/opt/two\", \"/opt/three\"]",
        place.path("links")
    );
    assert_eq!(conf, expected.parse().unwrap());
    assert_eq!(place.changes_nothing(|| place.podman("install", &[]).ok()).stdout, "");

    place.podman("remove", &[]).ok().prints(&["rm ", "rmdir "]);
    assert_eq!(place.tree(), before);
    assert_eq!(place.changes_nothing(|| place.podman("remove", &[]).ok()).stdout, "");
}

#[test]
fn podman_keeps_its_own_directories_by_default() {
    let place = Place::new();
    place.podman("install", &[]).ok();
    assert!(
        place
            .read("etc/containers.conf.d/zdocker.conf")
            .contains("\"/usr/lib/podman\"")
    );
    // Another program in the directory keeps it.
    place.write("links/aardvark-dns", "");
    place.podman("remove", &[]).ok();
    assert!(!place.path("links/netavark").exists() && place.path("links/aardvark-dns").exists());
}

#[test]
fn podman_installation_refuses_what_is_not_ours() {
    let place = Place::new();
    place.write("links/netavark", "another");
    place.changes_nothing(|| place.podman("install", &[]).exits(1)).says(&[
        "links/netavark",
        "something else is there",
        "--dir",
    ]);
    fs::remove_file(place.path("links/netavark")).unwrap();

    place.write("etc/containers.conf.d/zdocker.conf", "[engine]\n");
    place.changes_nothing(|| place.podman("install", &[]).exits(1)).says(&[
        "it is there and not ours",
        "--conf",
        "helper_binaries_dir",
    ]);
    place
        .changes_nothing(|| place.podman("remove", &[]).ok())
        .says(&["is not ours, and stays"]);
    fs::remove_file(place.path("etc/containers.conf.d/zdocker.conf")).unwrap();

    for line in [
        "[engine]\nhelper_binaries_dir = []",
        "[network]\nnetwork_backend = \"cni\"",
    ] {
        place.write("etc/containers.conf.d/zz.conf", line);
        place
            .changes_nothing(|| place.podman("install", &[]).exits(1))
            .says(&["zz.conf is read after", "--conf"]);
    }
    place.write("etc/containers.conf.d/zz.conf", "[engine");
    place
        .changes_nothing(|| place.podman("install", &[]).exits(1))
        .says(&["cannot read", "zz.conf"]);
}
