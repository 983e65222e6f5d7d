//! Containers: what they are, how they come and go.

mod ended;
mod endpoints;
mod filter;
mod lifecycle;
mod names;
pub mod paths;
mod request;
mod run;
pub mod spec;
pub mod user;
mod view;

pub use filter::{ContainerFilter, ContainerQuery};
pub use request::RunRequest;
pub use run::{Launch, Started};
pub(crate) use view::view;
pub use view::{ContainerView, docker_status};
