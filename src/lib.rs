//! onggi, an OCI low-level container runtime for Linux: the map of its code.
//!
//! # Bird's-eye view
//!
//! Each command is a process of its own, and none stays behind: what a later command must know lies in the state
//! directory, what the kernel knows is asked of the kernel. `create` and `run` turn a bundle into a container:
//!
//! ```text
//! config.json  ─ bundle ─► Spec    ┐
//! this machine ─ host ───► Host    ├ plan ─► Plan ─ prepare ─► Prepared ─ clone3 ─┬─ child ──► the program
//! command line ─ cli ────► Options ┘ (pure)         (on the host)                 └─ parent ─► Record
//! ```
//!
//! - [`plan`] fills in every default and refuses every conflict, by the field at fault. Nothing later sees the `Spec`.
//! - [`parent`] writes the record, makes the cgroup, opens all that the plan names while it stands on the host, clones,
//!   and serves the child: id maps, hooks, terminal. What it made undoes itself when dropped.
//! - [`child`] goes down the straight list in `child/init.rs`, one named step a line, and executes the program. All that
//!   can fail is done before it reports `Ready`; with `create` it then waits at a FIFO for `start`.
//! - The two talk in the messages of [`handshake`], which draws the ladder.
//! - `exec` is the same with less: `plan/exec.rs`, `parent/exec.rs`, and a child that goes down the list in
//!   `child/exec.rs`. It writes no state and holds no lock.
//! - All other commands look at the record and the kernel: [`container`] derives the status, and what is done to a
//!   container's processes or told of them comes from its [`cgroup`].
//!
//! # Where to find what
//!
//! | you have | look in |
//! |---|---|
//! | a command | `commands/<command>.rs`; its flags and help in [`cli`] |
//! | a key of config.json | the file named after it in a mechanism: [`namespaces`], [`rootfs`], [`process`], [`cgroup`], [`intel_rdt`], [`seccomp`], [`hooks`] |
//! | a question of order | `child/init.rs` and `child/exec.rs`, and the comments there |
//! | a system call | [`sys`] |
//! | what the user sees of a failure | [`error`]; lines and levels in [`log`] |
//! | what callers rely on, and the test of it | `docs/behaviour/` |
//! | a decision that one could have taken otherwise | `docs/decisions/` |
//!
//! # Ranks
//!
//! A module names modules of lower rank only. `error` and `sys` know each other, and so do within their rank `parent`
//! and `child` the `handshake`, and `parent` the `child`.
//!
//! | rank | modules | may name |
//! |---|---|---|
//! | 0 | `sys`, `error` | the standard library and the system call crates |
//! | 1 | `host`, `bundle`, `container`, `idmap`, `log`, `seal` | rank 0 |
//! | 2 | `namespaces`, `rootfs`, `process`, `cgroup`, `intel_rdt`, `seccomp`, `hooks` | 0 and 1, never each other |
//! | 3 | `plan` | 0 to 2 |
//! | 4 | `handshake`, `child`, `parent` | 0 to 3 |
//! | 5, 6 | `commands`; `cli` and `main` | all below |
//!
//! # Invariants
//!
//! Those marked with a star a test in `integration/tidy.rs` or a lint holds us to.
//!
//! - \* `unsafe` and the crates `nix`, `libc` and `caps` are in [`sys`] alone.
//! - \* The types of oci-spec are in [`bundle`], [`plan`] and what the mechanisms plan; nothing that acts sees them.
//! - \* There is one thread. `clone3` asks for the proof of it ([`sys::clone::SingleThreaded`]), so the child may allocate.
//! - Whatever changes the calling process takes [`sys::clone::InChild`], which only the clone makes. The exceptions are
//!   named where they are: joining a PID namespace for children, `seal`, and the end of `sys/this_process.rs`.
//! - The child ends in execve or `_exit`. It never returns, never unwinds, never runs the parent's undo guards, never
//!   writes to its standard descriptors, and loads nothing: no NSS, no locale, no shared object.
//! - A path in the container becomes a descriptor in [`rootfs`] alone; `ContainerPath` and the host's `Path` are
//!   different types. Nothing mounts by path: mounts are made detached and attached by descriptor.
//! - `plan` functions touch no file. What can be known to be wrong with config.json is known before anything is made; so
//!   is a root filesystem or a namespace that is not there (`parent/prepare.rs`).
//! - Every descriptor is owned, and close-on-exec from birth.
//! - The status of a container is never stored. The record is on disk before the first act that would need undoing.
//! - An error is logged once, in `main`. What could not be had is a value, a warning, until then; nothing in security is
//!   tried again with weaker means.
//! - \* Only the results of commands go to stdout.
//! - \* Whatever no command reaches is not there: modules are private as far as can be, so that the compiler tells.
//!
//! Not here on purpose: cgroup v1, threads, an async runtime, a daemon, mocked system calls, a second model of the config.
//!
//! # What the kernel must have
//!
//! Linux 5.14. None of these has a fallback; older kernels are refused with one sentence ([`host::require_kernel`]).
//!
//! | feature | since | used for |
//! |---|---|---|
//! | pidfds: `CLONE_PIDFD`, `pidfd_open`, `pidfd_send_signal`, `P_PIDFD` | 5.4 | signals and waiting that can't hit another process |
//! | mount API: `open_tree`, `fsopen`, `fsmount`, `move_mount` | 5.2 | detached mounts, attached by descriptor |
//! | `clone3` with `CLONE_INTO_CGROUP` | 5.7 | all namespaces, cgroup and pidfd in one call |
//! | `setns` by pidfd | 5.8 | `exec` joins all namespaces of a container at once |
//! | `openat2` | 5.6 | resolution inside the container's root, without magic links |
//! | `faccessat2`, `STATX_MNT_ID` | 5.8 | may the program be executed; is a place the root itself |
//! | `close_range` with `CLOSE_RANGE_CLOEXEC` | 5.11 | nothing of the caller's or ours leaks |
//! | `mount_setattr` | 5.12 | attributes, propagation and id maps of detached trees, recursive ones too |
//! | `cgroup.kill` | 5.14 | end of a container without a PID namespace |
//! | cgroup v2 on `/sys/fs/cgroup` | | limits; refused without |
//!
//! What may be missing, and what we do then:
//!
//! | feature | since | used for | without it |
//! |---|---|---|---|
//! | `MFD_EXEC` | 6.3 | the sealed copy of our own binary ([`seal`]) | made without the flag, which such kernels don't ask for |
//! | right to clone a mount | | the read-only clone of our own binary | a sealed copy in memory; refused without either |
//! | `CLONE_INTO_CGROUP` after a `cgroup.kill` | not since 6.14 | the container's cgroup | cloned once more, then moved there |
//! | room in the container's own cgroup | | `exec` | the init process's cgroup, unless `--cgroup` names one |
//! | numbers of mounts that are never given again | 6.8 | unmounting on the host what is the container's | its place counts as well |
//! | time namespaces, any namespace kind | 5.6 | `linux.namespaces` | the error of clone3 |
//! | AppArmor, SELinux | | `apparmorProfile`, `selinuxLabel` | refused: what is to be confined must not run unconfined |
//! | resctrl, mounted | 4.10 | `linux.intelRdt` | refused |
//! | a controller of cgroup v2 | | `linux.resources` | refused with the field; a value that means "no limit" is passed over |
//! | | | `events` | left out of the statistics; without memory no notices |
//! | pressure stall information, `memory.peak` | 4.20, 5.19 | `events` | left out of the statistics |
//! | systemd and a bus | | `--systemd-cgroup` | refused |
//! | systemd 252, 253 | | `cpu.idle` and `memory.oom.group` as properties of the unit | written to the cgroup alone |
//! | `memory.reclaim` | 5.19 | `update` of a memory limit below what is in use | a temporary `memory.high` |
//! | BFQ's weights | 5.0 | `blockIO.weight` | `io.weight`, converted |
//! | right to load device programs | | `resources.devices` | refused; passed over in a user namespace, where nobody makes nodes |
//! | list of files to delegate | 4.15 | giving the container its cgroup | the three files that are always on it |
//! | a filesystem that can be ID-mapped | 5.12, tmpfs 6.3 | `idmap`, `uidMappings` of a mount | refused with the filesystem's name |
//! | a network namespace of the container's own | | sysfs in a user namespace | the host's, with all below it read-only |
//! | right to make device nodes | | `/dev` | the host's nodes are bound |
//! | CAP_SETUID, CAP_SETGID | | `linux.uidMappings`, `linux.gidMappings` | newuidmap(1) and newgidmap(1); neither for the own id alone |
//! | right to make cgroups | | limits | no cgroup, if the config asks for none and no limits; refused otherwise |
//! | `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` | 5.19 | `linux.seccomp.flags` | refused; without a listener it means nothing |
//! | system call filters | | `linux.seccomp` | refused |
//! | a capability | | `process.capabilities` | left out with a warning, as the specification wants |
//! | session keyrings | | the container's own keyring | there are no keys to protect |
//! | `pidfd_open` under the container's filter | | waiting for startContainer hooks | we look every 10 ms |

// Private wherever `main` does not need more: then the compiler finds what nobody uses.
mod bundle;
mod cgroup;
mod child;
pub mod cli;
pub mod commands;
pub mod container;
pub mod error;
mod handshake;
mod hooks;
mod host;
mod idmap;
mod intel_rdt;
pub mod log;
mod namespaces;
mod parent;
mod plan;
mod process;
mod rootfs;
pub mod seal;
#[cfg(not(feature = "internals"))]
mod seccomp;
#[cfg(feature = "internals")]
pub mod seccomp;
mod sys;

pub use sys::{heap::Heap, start};
