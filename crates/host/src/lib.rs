//! The effects of zdocker: the one crate that speaks with the kernel about networks, and the records that it keeps.
//!
//! [`Kernel`] looks at the machine ([`Kernel::observe`]), carries out plans ([`Kernel::apply`]) and takes away what
//! records say may be there ([`Kernel::remove`]). It speaks netlink itself, so no other program is needed.

mod apply;
mod conntrack;
mod execute;
mod kernel;
mod linger;
pub mod netlink;
pub mod netns;
mod nft;
mod observe;
mod observe_whole;
pub mod process;
mod remove;
pub mod sockets;
pub mod store;
pub mod sysctl;

pub use apply::{ApplyError, StepError, Watch};
pub use kernel::Kernel;
pub use observe::ObserveError;
pub use remove::RemoveFailure;
