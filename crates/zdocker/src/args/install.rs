//! `cni ...`, `podman ...`: serving other engines.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum CniCommand {
    /// Make links of the plug-ins' names to this program, and a sample configuration
    Install(CniInstallArgs),
    /// Take back what install did
    Remove(CniRemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CniPlaces {
    /// Directory that the runtime looks for plug-ins in, such as /opt/cni/bin
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Directory that the runtime looks for configurations in
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(crate) conf_dir: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CniInstallArgs {
    #[command(flatten)]
    pub(crate) places: CniPlaces,
    /// Move plug-ins of others that have these names aside, to NAME.before-zdocker; remove puts them back
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CniRemoveArgs {
    #[command(flatten)]
    pub(crate) places: CniPlaces,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PodmanCommand {
    /// Make a link netavark to this program, and a configuration by which Podman uses it
    Install(PodmanArgs),
    /// Take back what install did
    Remove(PodmanArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PodmanArgs {
    /// Directory of the link
    #[arg(long, value_name = "DIR", default_value = "/usr/local/lib/zdocker/podman")]
    pub(crate) dir: PathBuf,
    /// Configuration file that is written, beside those that it adds to; see containers.conf(5)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/containers/containers.conf.d/zdocker.conf"
    )]
    pub(crate) conf: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}
