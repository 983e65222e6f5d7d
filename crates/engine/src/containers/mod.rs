//! Containers: what they are, how they come and go.

mod connect;
mod disconnect;
mod ended;
mod endpoints;
mod filter;
mod lifecycle;
mod names;
mod neighbours;
mod network_lock;
pub mod paths;
mod publish;
mod request;
mod run;
pub mod spec;
mod start;
mod update;
pub mod user;
mod view;

pub(crate) use ended::is_alive;
pub use filter::{ContainerFilter, ContainerQuery};
pub use publish::PublishedView;
pub use request::RunRequest;
pub use start::{Launch, Started};
pub use update::PortChanges;
pub(crate) use view::view;
pub use view::{ContainerView, docker_status};
