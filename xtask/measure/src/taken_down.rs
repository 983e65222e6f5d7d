//! Waiting for the kernel, which takes down the interfaces of an abandoned namespace when it gets to it.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use zdocker_host::Kernel;

/// `RTMGRP_LINK` (linux/rtnetlink.h): to be told of every interface that comes, changes or goes.
const LINKS: u32 = 1;

/// Longer than this the kernel does not keep silent while it has something to take down.
const PATIENCE_MILLISECONDS: u16 = 10_000;

/// Waits until no interface with a name that starts with `prefix` is left.
///
/// # Errors
/// When they stay.
pub(crate) fn wait(kernel: &mut Kernel, prefix: &str) -> Result<()> {
    let news = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(news.as_raw_fd(), &NetlinkAddr::new(0, LINKS))?;
    let is_left = |kernel: &mut Kernel| -> Result<bool> {
        Ok(kernel
            .observe()?
            .links
            .iter()
            .any(|link| link.name.as_str().starts_with(prefix)))
    };
    let mut buffer = vec![0; 65_536];
    while is_left(kernel)? {
        let mut waiting = [PollFd::new(std::os::fd::AsFd::as_fd(&news), PollFlags::POLLIN)];
        let told = poll(&mut waiting, PollTimeout::from(PATIENCE_MILLISECONDS))?;
        (told > 0)
            .then_some(())
            .context("the kernel does not take down what was abandoned")?;
        // What it says does not matter; that it was too much to keep (ENOBUFS) says as much.
        while matches!(
            recv(news.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT),
            Ok(_) | Err(Errno::ENOBUFS)
        ) {}
    }
    Ok(())
}
