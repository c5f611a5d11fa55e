//! The side that stays outside: prepares, clones, serves the child, runs hooks, waits.

pub mod agent;
pub mod console;
pub mod conversation;
pub mod exec;
mod idmap;
mod idmapped;
pub mod init_process;
pub mod launch;
mod net_devices;
pub mod notify;
pub mod pid_file;
pub mod pidfd_socket;
pub mod prepare;
pub mod relay;
mod subids;
pub mod wait;
