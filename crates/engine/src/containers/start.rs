//! Starting a container whose records are written: plug in ‖ mount the root file system → launch.

use std::path::{Path, PathBuf};
use std::process::Command;

use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::plan;

use super::paths::ContainerPaths;
use super::spec::{ContainerSpec, NamespaceChoice, ResolverSettings};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::rootfs::WritableLayer;
use crate::shim::attach::Attachment;
use crate::shim::protocol::{StartRequest, Streams};
use crate::terminal::WindowSize;
use crate::{etc_files, oci, rootfs, shim};

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// The container.
    pub id: Id,
    /// Whether it has a terminal.
    pub tty: bool,
    /// The connection to its streams, unless it is detached.
    pub attachment: Option<Attachment>,
}

/// What starting a container is given by the face that it is called from.
#[derive(Debug)]
pub struct Launch {
    /// How to run this program as a shim.
    pub shim: Command,
    /// What the caller attaches to; `None` for a detached container.
    pub streams: Option<Streams>,
    /// The size of the caller's terminal.
    pub window: Option<WindowSize>,
}

/// A container whose records are written.
pub(super) struct Recorded {
    pub(super) id: Id,
    pub(super) spec: ContainerSpec,
    pub(super) endpoints: Vec<(Network, Endpoint)>,
}

impl Engine {
    pub(super) fn plug_in_plan(&self, recorded: &Recorded) -> Vec<Op> {
        if recorded.spec.namespace != NamespaceChoice::Own {
            return Vec::new();
        }
        let namespace = self.namespace_path(recorded.id.as_str());
        let mut ops = vec![plan::create_namespace(&namespace)];
        for (network, endpoint) in &recorded.endpoints {
            ops.extend(plan::attach(network, endpoint, &namespace));
        }
        ops
    }

    pub(super) fn start(&mut self, recorded: &Recorded, launch: Launch) -> Result<Option<Attachment>, EngineError> {
        let paths = self.container_paths(recorded.id.as_str());
        let mut command = launch.shim;
        command.arg(recorded.id.as_str());
        // The shim gets ready while we plug in and mount.
        let launcher = shim::spawn(command, &paths)?;
        if let Err(error) = self.prepare(recorded, &paths) {
            launcher.cancel();
            return Err(error);
        }
        let spec = &recorded.spec;
        let request = StartRequest {
            paths,
            runtime: spec.runtime.clone(),
            tty: spec.tty,
            open_stdin: spec.open_stdin,
            window: launch.window,
            attach: launch.streams,
            relays: self.relays(recorded.endpoints.iter().map(|(network, endpoint)| (network, endpoint))),
        };
        // The shim records that it runs: it is at the container from then on, also if we die meanwhile.
        let (_, attachment) = launcher.start(&request)?;
        Ok(attachment)
    }

    /// Makes all that the container's first process needs.
    fn prepare(&mut self, recorded: &Recorded, paths: &ContainerPaths) -> Result<(), EngineError> {
        let namespaces = self.namespaces_dir();
        std::fs::create_dir_all(&namespaces).map_err(EngineError::io("create", namespaces))?;
        let plan = self.plug_in_plan(recorded);
        self.apply(&plan)?;
        let layer = if recorded.spec.auto_remove {
            WritableLayer::Discarded
        } else {
            WritableLayer::Kept
        };
        rootfs::mount(&recorded.spec.rootfs, paths, layer)?;
        self.write_etc_files(recorded)?;
        oci::spec::write_bundle(&recorded.spec, paths, self.joined_namespace(recorded).as_deref())?;
        Ok(())
    }

    /// The namespace that the bundle joins; `None` for the host's.
    fn joined_namespace(&self, recorded: &Recorded) -> Option<PathBuf> {
        let owner = match &recorded.spec.namespace {
            NamespaceChoice::Own => &recorded.id,
            NamespaceChoice::Container(other) => other,
            NamespaceChoice::Host => return None,
        };
        Some(PathBuf::from(self.namespace_path(owner.as_str()).0))
    }

    fn write_etc_files(&mut self, recorded: &Recorded) -> Result<(), EngineError> {
        let (spec, paths) = (&recorded.spec, self.container_paths(recorded.id.as_str()));
        if spec.etc_owner() != spec.id {
            return Ok(());
        }
        let resolv_conf = match spec.namespace {
            // On the host's network its own name servers are reached, on loopback as well.
            NamespaceChoice::Host if spec.dns.is_empty() && spec.resolver == ResolverSettings::default() => {
                read_or_empty(Path::new("/etc/resolv.conf"))
            }
            _ => etc_files::resolv_conf(&spec.dns, &spec.resolver, &etc_files::host_resolv_conf()),
        };
        let hostname = spec.full_hostname().unwrap_or_else(|| spec.hostname.clone());
        etc_files::write(&paths, &hostname, &resolv_conf)
            .map_err(EngineError::io("write the files of /etc in", paths.state_dir()))?;
        self.write_hosts(spec, &recorded.endpoints)
    }
}

/// A host without the file gives its containers an empty one.
fn read_or_empty(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
