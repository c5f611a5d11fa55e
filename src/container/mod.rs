//! A container as it lies on disk and lives in the kernel: id, record, store, status.

pub mod id;
pub mod record;
pub mod report;
pub mod status;
pub mod store;
