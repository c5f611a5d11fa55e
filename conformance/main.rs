//! Other judges than ourselves: engines that drive onggi all day, the validation suite of the OCI, and the runtimes that it
//! is to replace. All of it runs in the test machine, as root: `make conformance`, or `conformance/run NAMES`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod containerd;
mod docker;
mod images;
mod machine;
mod podman;
mod rivals;
mod runtime_tools;
