//! Starting a hook's program with exactly the descriptors, environment and directory that it should have.
