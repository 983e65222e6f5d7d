//! Containers: what they are, how they come and go.

mod ended;
mod endpoints;
mod lifecycle;
mod names;
pub mod paths;
mod publish;
mod request;
mod run;
pub mod spec;
mod update;
pub mod user;

pub use lifecycle::ContainerView;
pub use publish::PublishedView;
pub use request::RunRequest;
pub use run::{Launch, Started};
pub use update::PortChanges;
