//! Containers: what they are, how they come and go.

mod connect;
mod ended;
mod endpoints;
mod lifecycle;
mod names;
mod neighbours;
pub mod paths;
mod request;
mod run;
pub mod spec;
mod start;
pub mod user;

pub use lifecycle::ContainerView;
pub use request::RunRequest;
pub use start::{Launch, Started};
