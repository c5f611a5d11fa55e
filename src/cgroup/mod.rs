//! The container's cgroup: planned, created, limited, emptied and removed (cgroup v2).
