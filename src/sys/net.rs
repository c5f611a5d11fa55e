//! The loopback interface of a new network namespace.
