//! The integration tests: they drive the built binary as its callers do, and look at the result from inside the
//! container (by the probe) and from the host. One file per feature, named like the verb or the key of config.json.
//!
//! Run them by `make integration`, which enters a private view of the machine first (`integration/enter`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod bad_input;
mod bad_json;
mod bad_limits;
mod bad_mounts;
mod bad_values;
mod behaviour;
mod callers;
mod captured_configs;
mod cgroup;
mod cgroup_hazards;
mod cli;
mod debian_rootfs;
mod delegation;
mod delete;
mod descriptors;
mod device_rules;
mod devices;
mod events;
mod exec;
mod exec_cgroup;
mod exec_cost;
mod exec_hostile;
mod exec_process;
mod exec_rootless;
mod exec_terminal;
mod faults;
mod features;
mod foreground;
mod harness;
mod hooks;
mod hooks_failing;
mod hostile_descriptors;
mod hostile_rootfs;
mod kill;
mod labels;
mod lifecycle;
mod limits;
mod list;
mod load;
mod log;
mod masks;
mod matrix;
mod mounts;
mod namespaces;
mod no_host_paths;
mod notify;
mod pause;
mod process_identity;
mod process_limits;
mod propagation;
mod ps;
mod rootless;
mod runtime_binary;
mod seccomp;
mod spec;
mod state;
mod state_directory;
mod stdio;
mod stress;
mod systemd;
mod terminal;
mod terminal_session;
mod threaded_cgroups;
mod tidy;
mod two_at_once;
mod update;
mod user_namespace;
