//! The system calls that a container may use.
