//! seccomp: an OCI profile compiled to a BPF program (pure), and its installation.
