//! unshare(2), setns(2) and the ioctls of namespace files.
