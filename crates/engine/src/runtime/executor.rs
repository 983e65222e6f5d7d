//! How the embedded runtime runs the command of a container.
