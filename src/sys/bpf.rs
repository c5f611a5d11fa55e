//! bpf(2): loading a device program and attaching it to a cgroup.
