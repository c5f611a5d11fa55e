//! The container's root filesystem: mounts, devices, masks, pivot; the only place where a container path becomes a descriptor.
