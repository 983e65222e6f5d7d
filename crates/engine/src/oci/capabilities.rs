//! Which capabilities a container has.
