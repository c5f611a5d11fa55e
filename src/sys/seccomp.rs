//! seccomp(2): installing a filter, asking what the kernel supports.
