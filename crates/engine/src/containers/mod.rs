//! Containers: what they are, how they come and go.

mod ended;
mod endpoints;
mod lifecycle;
mod names;
pub mod paths;
mod request;
mod run;
pub mod spec;
pub mod user;

pub use lifecycle::ContainerView;
pub use request::RunRequest;
pub use run::{Launch, Started};
