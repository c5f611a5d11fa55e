//! The mount API by descriptor: open_tree, fsopen, move_mount, mount_setattr, pivot_root.
