//! Containers: what they are, how they come and go.

mod connect;
mod ended;
mod endpoints;
mod filter;
mod lifecycle;
mod names;
mod neighbours;
pub mod paths;
mod request;
mod run;
pub mod spec;
mod start;
pub mod user;
mod view;

pub use filter::{ContainerFilter, ContainerQuery};
pub use request::RunRequest;
pub use start::{Launch, Started};
pub(crate) use view::view;
pub use view::{ContainerView, docker_status};
