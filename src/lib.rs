//! onggi: an OCI low-level container runtime for Linux.

pub mod bundle;
pub mod cgroup;
pub mod child;
pub mod cli;
pub mod commands;
pub mod container;
pub mod error;
pub mod handshake;
pub mod hooks;
pub mod host;
pub mod log;
pub mod namespaces;
pub mod parent;
pub mod plan;
pub mod process;
pub mod rootfs;
pub mod seal;
pub mod seccomp;
pub mod sys;
