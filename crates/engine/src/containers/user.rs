//! Who the processes of a container run as, by the container's own `/etc/passwd` and `/etc/group`.
