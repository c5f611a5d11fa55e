//! The mount API by descriptor (5.2): detached mounts are made, given all their attributes, and attached once.
//!
//! Nothing here takes a path below a container's root: targets and detached trees are descriptors.

#![allow(unsafe_code)]

use super::clone::InChild;
use super::{Errno, check, this_process};
use crate::error::{Error, Result};
use nix::mount::MntFlags;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest message of a filesystem context that we read.
const MESSAGE_LENGTH: usize = 1024;

/// One attribute of a mount that is either on or off; see mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute(u64);

impl Attribute {
    /// No writing through this mount.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Set-id bits and file capabilities have no effect.
    pub const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes can't be opened.
    pub const NO_DEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Programs can't be executed.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);
    /// Access times of directories are not kept.
    pub const NO_DIR_ATIME: Self = Self(libc::MOUNT_ATTR_NODIRATIME);
    /// Symbolic links are not followed (5.14 for mount_setattr).
    pub const NO_SYMFOLLOW: Self = Self(libc::MOUNT_ATTR_NOSYMFOLLOW);
}

/// When access times are written: one choice of three, not a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTime {
    /// When older than the last change, or than a day: the kernel's default.
    Relative,
    /// Never.
    Never,
    /// Always.
    Strict,
}

impl AccessTime {
    const fn bits(self) -> u64 {
        match self {
            Self::Relative => libc::MOUNT_ATTR_RELATIME,
            Self::Never => libc::MOUNT_ATTR_NOATIME,
            Self::Strict => libc::MOUNT_ATTR_STRICTATIME,
        }
    }
}

/// A change of mount attributes: some set, some cleared, the rest left as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    set: u64,
    clear: u64,
}

impl Attributes {
    /// No change.
    pub const NONE: Self = Self { set: 0, clear: 0 };

    /// This change, and `attribute` set.
    #[must_use]
    pub const fn with(self, attribute: Attribute) -> Self {
        Self { set: self.set | attribute.0, clear: self.clear & !attribute.0 }
    }

    /// This change, and `attribute` cleared.
    #[must_use]
    pub const fn without(self, attribute: Attribute) -> Self {
        Self { set: self.set & !attribute.0, clear: self.clear | attribute.0 }
    }

    /// This change, and access times kept as `choice` says. The kernel wants the whole field cleared first.
    #[must_use]
    pub const fn with_atime(self, choice: AccessTime) -> Self {
        let field = libc::MOUNT_ATTR__ATIME;
        Self { set: (self.set & !field) | choice.bits(), clear: self.clear | field }
    }

    /// This change, without what it said about access times if that was `choice`.
    #[must_use]
    pub const fn undo_atime(self, choice: AccessTime) -> Self {
        let field = libc::MOUNT_ATTR__ATIME;
        if self.clear & field == 0 || self.set & field != choice.bits() {
            return self;
        }
        Self { set: self.set & !field, clear: self.clear & !field }
    }

    /// This change, then `later`, as one.
    #[must_use]
    pub const fn then(self, later: Self) -> Self {
        Self { set: (self.set & !later.clear) | later.set, clear: (self.clear & !later.set) | later.clear }
    }

    /// Whether `attribute` will be set.
    pub const fn sets(self, attribute: Attribute) -> bool {
        self.set & attribute.0 != 0
    }

    /// Whether nothing changes.
    pub const fn is_empty(self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// How mount events travel between copies of a mount; see mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the others to here.
    Slave,
    /// Both ways.
    Shared,
    /// Not at all, and the mount can't be copied.
    Unbindable,
}

impl Propagation {
    const fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// Whether a call is about one mount or also about all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The mount itself.
    Top,
    /// The mount and all below it (`AT_RECURSIVE`).
    All,
}

impl Depth {
    const fn flag(self) -> libc::c_uint {
        match self {
            Self::Top => 0,
            Self::All => libc::AT_RECURSIVE as libc::c_uint,
        }
    }
}

/// Whether a link as last component of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It is followed.
    Follow,
    /// It is what is meant.
    Keep,
}

/// Clones the mount at a path of the host, as named by the caller, as a detached mount rooted there.
///
/// A clone that is closed without having been attached costs a grace period of the kernel, about 0.1 to 2 ms.
///
/// # Errors
/// The errno of open_tree(2): ENOENT and others from the path, EINVAL when a mount there is unbindable.
pub fn clone_path(path: &Path, depth: Depth, link: Link) -> Result<OwnedFd> {
    let name = c_string(path.as_os_str())?;
    let keep = if link == Link::Keep { libc::AT_SYMLINK_NOFOLLOW as libc::c_uint } else { 0 };
    open_tree(libc::AT_FDCWD, &name, depth.flag() | keep).map_err(|errno| {
        // The call that users know; open_tree fails for the same reasons.
        Error::sys(format!("open {}", path.display()), errno)
    })
}

/// Clones the mount that `fd` is in as a detached mount rooted at `fd`.
///
/// # Errors
/// The errno of open_tree(2).
pub fn clone_at(fd: impl AsFd, depth: Depth) -> Result<OwnedFd> {
    open_tree(fd.as_fd().as_raw_fd(), c"", depth.flag() | libc::AT_EMPTY_PATH as libc::c_uint)
        .map_err(|errno| Error::sys("open_tree(OPEN_TREE_CLONE)", errno))
}

fn open_tree(dir: RawFd, path: &CStr, flags: libc::c_uint) -> std::result::Result<OwnedFd, Errno> {
    let flags = flags | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) };
    own(fd).ok_or_else(Errno::last)
}

/// Takes the descriptor that a system call returned; `None` for -1.
fn own(fd: libc::c_long) -> Option<OwnedFd> {
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Changes attributes and propagation of the mount whose root is `mount`, which is detached or in our namespace.
///
/// # Errors
/// The errno of mount_setattr(2): EPERM when the change would clear what a more privileged user namespace locked,
/// EBUSY when it is to become read-only but has a writer.
pub fn set_attributes(
    mount: impl AsFd,
    change: Attributes,
    propagation: Option<Propagation>,
    depth: Depth,
) -> Result<()> {
    let flags = depth.flag() | libc::AT_EMPTY_PATH as libc::c_uint;
    mount_setattr(mount.as_fd().as_raw_fd(), c"", flags, change, propagation, None)
}

/// Gives the detached mount `mount` the id map of the user namespace `userns` (`MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// The errno of mount_setattr(2): EINVAL when its filesystem can't be ID-mapped, EPERM without CAP_SYS_ADMIN in the user
/// namespace that mounted that, or when it has a map already.
pub fn set_idmap(mount: impl AsFd, userns: impl AsFd, depth: Depth) -> Result<()> {
    let flags = depth.flag() | libc::AT_EMPTY_PATH as libc::c_uint;
    mount_setattr(mount.as_fd().as_raw_fd(), c"", flags, Attributes::NONE, None, Some(userns.as_fd()))
}

/// Sets the propagation of every mount of the calling process's namespace.
///
/// # Errors
/// The errno of mount_setattr(2).
pub fn set_namespace_propagation(_: &InChild, propagation: Propagation) -> Result<()> {
    mount_setattr(libc::AT_FDCWD, c"/", Depth::All.flag(), Attributes::NONE, Some(propagation), None)
}

fn mount_setattr(
    dir: RawFd,
    path: &CStr,
    flags: libc::c_uint,
    change: Attributes,
    propagation: Option<Propagation>,
    userns: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: change.set | if userns.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: change.clear,
        propagation: propagation.map_or(0, Propagation::bits),
        userns_fd: userns.map_or(0, |userns| userns.as_raw_fd() as u64),
    };
    // SAFETY: path and attr outlive the call, and the size is that of attr.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, dir, path.as_ptr(), flags, &raw const attr, size_of_val(&attr))
    };
    check(result, || {
        format!("mount_setattr(set {:#x}, clear {:#x}, propagation {:#x})", attr.attr_set, attr.attr_clr, {
            attr.propagation
        })
    })
    .map(drop)
}

/// Attaches the detached mount `mount` on `target`.
///
/// # Errors
/// The errno of move_mount(2): ENOTDIR when one is a directory and the other is not.
pub fn attach(_: &InChild, mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd(), c"", flags)
}

/// Attaches the detached mount `mount` on top of the namespace's root. The calling process's root stays below it.
///
/// # Errors
/// The errno of move_mount(2): EINVAL when the namespace's root is shared and `mount` is unbindable.
pub fn attach_over_root(_: &InChild, mount: impl AsFd) -> Result<()> {
    move_mount(mount.as_fd().as_raw_fd(), libc::AT_FDCWD, c"/", libc::MOVE_MOUNT_F_EMPTY_PATH)
}

fn move_mount(mount: RawFd, dir: RawFd, path: &CStr, flags: libc::c_uint) -> Result<()> {
    // SAFETY: both strings are C strings that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), dir, path.as_ptr(), flags) };
    check(result, || "move_mount".to_owned()).map(drop)
}

/// A new filesystem under construction (`fsopen(2)`): options are given one by one, so a refusal can name the option.
#[derive(Debug)]
pub struct Filesystem(OwnedFd);

impl Filesystem {
    /// Starts a filesystem of this type, which the kernel's module loader may bring in.
    ///
    /// # Errors
    /// ENODEV for a type that the kernel does not know, EPERM when the caller may not mount it.
    pub fn open(fstype: &str) -> Result<Self> {
        let name = c_string(OsStr::new(fstype))?;
        // SAFETY: the name is a C string that outlives the call.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), libc::FSOPEN_CLOEXEC) };
        own(fd).map(Self).ok_or_else(|| Error::sys(format!("fsopen({fstype})"), Errno::last()))
    }

    /// Starts a change of the filesystem whose mount has its root at `mount`.
    ///
    /// # Errors
    /// EINVAL when that is no root of a mount, EPERM when the filesystem belongs to a more privileged user namespace.
    pub fn pick(mount: impl AsFd) -> Result<Self> {
        let flags = libc::FSPICK_CLOEXEC | libc::FSPICK_EMPTY_PATH;
        // SAFETY: the path is an empty C string.
        let fd = unsafe { libc::syscall(libc::SYS_fspick, mount.as_fd().as_raw_fd(), c"".as_ptr(), flags) };
        own(fd).map(Self).ok_or_else(|| Error::sys("fspick", Errno::last()))
    }

    /// Sets an option, with a value or as a flag.
    ///
    /// # Errors
    /// EINVAL for an unknown option or a bad value (of more than 255 bytes too); see [`Filesystem::messages`].
    pub fn set(&self, key: &str, value: Option<&OsStr>) -> Result<()> {
        let key_name = c_string(OsStr::new(key))?;
        let value = value.map(c_string).transpose()?;
        let (command, value) = match &value {
            Some(value) => (libc::FSCONFIG_SET_STRING, value.as_ptr()),
            None => (libc::FSCONFIG_SET_FLAG, std::ptr::null()),
        };
        // SAFETY: key and value are C strings that outlive the call, or null for a flag.
        let result =
            unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, key_name.as_ptr(), value, 0) };
        check(result, || format!("fsconfig({key})")).map(drop)
    }

    /// Makes the filesystem with the options given so far, or finds the existing one that they describe.
    ///
    /// # Errors
    /// Whatever the filesystem says; see [`Filesystem::messages`].
    pub fn create(&self) -> Result<()> {
        self.command(libc::FSCONFIG_CMD_CREATE, "fsconfig(create)")
    }

    /// Changes the filesystem that was picked, by the options given so far.
    ///
    /// # Errors
    /// As [`Filesystem::create`].
    pub fn reconfigure(&self) -> Result<()> {
        self.command(libc::FSCONFIG_CMD_RECONFIGURE, "fsconfig(reconfigure)")
    }

    fn command(&self, command: libc::c_uint, told: &str) -> Result<()> {
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: these commands take neither key nor value.
        let result = unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, none, none, 0) };
        check(result, || told.to_owned()).map(drop)
    }

    /// The created filesystem as a detached mount, with what `attributes` sets.
    ///
    /// # Errors
    /// EPERM when a procfs or sysfs would reveal to a user namespace what is covered in every one it can see.
    pub fn mount(self, me: &InChild, attributes: Attributes) -> Result<OwnedFd> {
        // SAFETY: all arguments are numbers.
        let fd = unsafe {
            libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes.set as libc::c_uint)
        };
        let mount = own(fd).ok_or_else(|| Error::sys("fsmount", Errno::last()));
        this_process::leave_open(me, self.0);
        mount
    }

    /// What the kernel logged about this filesystem since the last time, without the level.
    pub fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; MESSAGE_LENGTH];
        // One read is one message; ENODATA is the end. The kernel keeps at most eight.
        while let Ok(length) = super::fs::read(&self.0, &mut buffer) {
            if length == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&buffer[..length]);
            // "e tmpfs: Unknown parameter 'x'": level (e, w, i), space, text.
            messages.push(text.trim_end().get(2..).unwrap_or_default().to_owned());
        }
        messages
    }
}

/// The kernel's number of the mount that `fd` is in (`STATX_MNT_ID`, 5.8).
///
/// # Errors
/// The errno of statx(2).
pub fn mount_id(fd: impl AsFd) -> Result<u64> {
    statx(fd, libc::STATX_MNT_ID).map(|told| told.stx_mnt_id)
}

/// The number of that mount which no other one gets before the machine boots again (`STATX_MNT_ID_UNIQUE`); `None` before
/// Linux 6.8.
///
/// # Errors
/// The errno of statx(2).
pub fn unique_mount_id(fd: impl AsFd) -> Result<Option<u64>> {
    let told = statx(fd, libc::STATX_MNT_ID_UNIQUE)?;
    Ok((told.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0).then_some(told.stx_mnt_id))
}

/// What statx(2) tells about `fd` when asked for `mask`.
pub(super) fn statx(fd: impl AsFd, mask: libc::c_uint) -> Result<libc::statx> {
    // SAFETY: all zeroes is a valid statx.
    let mut told: libc::statx = unsafe { std::mem::zeroed() };
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the path is an empty C string and the kernel fills `told`, which outlives the call.
    let result = unsafe { libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut told) };
    check(result.into(), || "statx".to_owned())?;
    Ok(told)
}

/// Makes the working directory, which is the root of a mount, the namespace's root, and detaches the old root.
///
/// # Errors
/// The errno of pivot_root(2): EINVAL when the old root is shared or is the initial ramfs.
pub fn pivot_root_here(_: &InChild) -> Result<()> {
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, where "." finds it. The working
    // directory stays the new one.
    nix::unistd::pivot_root(".", ".").map_err(|errno| Error::sys("pivot_root(., .)", errno))?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH).map_err(|errno| Error::sys("umount2(., MNT_DETACH)", errno))
}

/// Makes the working directory the process's root.
///
/// # Errors
/// The errno of chroot(2).
pub fn chroot_here(_: &InChild) -> Result<()> {
    nix::unistd::chroot(".").map_err(|errno| Error::sys("chroot(.)", errno))
}

/// Detaches the topmost mount at a path of the host with all below it.
///
/// # Errors
/// The errno of umount2(2): EINVAL when nothing is mounted there or it is locked.
pub fn detach(_: &InChild, path: &Path) -> Result<()> {
    umount(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
}

/// Detaches the topmost mount at the place `at`, in the calling process's own namespace, with all below it. On the host,
/// to undo what was mounted there.
///
/// # Errors
/// As [`detach`]; EINVAL also when `at` is in a mount that is detached.
pub fn detach_at(at: impl AsFd) -> Result<()> {
    umount(Path::new(&format!("/proc/self/fd/{}", at.as_fd().as_raw_fd())), MntFlags::MNT_DETACH)
}

fn umount(path: &Path, flags: MntFlags) -> Result<()> {
    nix::mount::umount2(path, flags)
        .map_err(|errno| Error::sys(format!("umount2({}, MNT_DETACH)", path.display()), errno))
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Error::sys(format!("{}: NUL byte", text.display()), Errno::EINVAL))
}
