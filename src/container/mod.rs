//! A container as it lies on disk and lives in the kernel: id, record, store, status.
