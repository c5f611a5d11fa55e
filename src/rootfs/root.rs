//! The handle of the container's root, the only thing that turns container paths into descriptors.

use super::ContainerPath;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, DeviceNumber, NodeKind, Resolve, Stat, magic};
use crate::sys::mount::{self, Depth};
use crate::sys::{Errno, this_process};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

/// The root of the container's filesystem. It stays the same mount through pivot_root, so it serves before and after.
#[derive(Debug)]
pub struct Root {
    tree: OwnedFd,
    stat: Stat,
}

/// What a mount target must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetKind {
    /// A directory.
    Dir,
    /// Anything else.
    File,
}

/// Whether links may be followed to a target, inside the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// They may.
    Follow,
    /// They are refused.
    Refuse,
}

impl Links {
    fn resolve(self) -> Resolve {
        match self {
            Self::Follow => Resolve::InRoot,
            Self::Refuse => Resolve::Beneath,
        }
    }
}

/// A place to mount on.
#[derive(Debug)]
pub(super) struct Target {
    pub fd: OwnedFd,
    pub stat: Stat,
    /// Whether it was made just now, and by us.
    pub created: bool,
}

impl Root {
    pub(super) fn new(tree: OwnedFd, stat: Stat) -> Self {
        Self { tree, stat }
    }

    /// The root of a container whose mount namespace the calling process has joined: that of the namespace, or `inner`
    /// where the container lives in a part of it, which then becomes the root of this process.
    pub fn of_joined(me: &InChild, inner: Option<&OwnedFd>) -> Result<Self> {
        if let Some(inner) = inner {
            this_process::fchdir(me, inner)?;
            mount::chroot_here(me)?;
        }
        let tree = fs::open("/", Access::Dir)?;
        let stat = fs::stat(&tree)?;
        Ok(Self { tree, stat })
    }

    /// Gives up its descriptor; see [`this_process::leave_open`].
    pub fn leave_open(self, me: &InChild) {
        this_process::leave_open(me, self.tree);
    }

    /// Opens an existing path in the container, following links inside the root, never magic links.
    ///
    /// # Errors
    /// The errno of openat2(2).
    pub fn open(&self, path: &ContainerPath, access: Access) -> Result<OwnedFd> {
        self.open_raw(path.below_root(), access, Resolve::InRoot)
    }

    fn open_raw(&self, path: &Path, access: Access, resolve: Resolve) -> Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::open_at(&self.tree, path, access, resolve)
    }

    /// Opens the place where `path` leads, making what is missing: directories 0755, a file 0644.
    ///
    /// # Errors
    /// ENOTDIR when the place is of the other kind; an error when it is the root itself; ELOOP for refused links.
    pub(super) fn create_target(
        &self,
        me: &InChild,
        path: &ContainerPath,
        kind: TargetKind,
        links: Links,
    ) -> Result<Target> {
        let (fd, created) = match self.open_raw(path.below_root(), Access::Path, links.resolve()) {
            Ok(fd) => (fd, false),
            Err(error) if error.is(Errno::ENOENT) => self.create(me, path.below_root(), kind, links)?,
            Err(error) => return Err(error),
        };
        let stat = fs::stat(&fd)?;
        if stat.is_dir() != (kind == TargetKind::Dir) {
            return Err(Error::sys(format!("mount on {path}"), Errno::ENOTDIR));
        }
        if self.is_same(&fd, &stat)? {
            let text = format!("mountpoint \"{path}\" is on the top of rootfs");
            return Err(Error::new(ErrorKind::InvalidConfig, text));
        }
        Ok(Target { fd, stat, created })
    }

    /// Whether `fd` is the root of the container. By mount too: a bind of the same directory elsewhere is not.
    fn is_same(&self, fd: &OwnedFd, stat: &Stat) -> Result<bool> {
        if (stat.device, stat.inode) != (self.stat.device, self.stat.inode) {
            return Ok(false);
        }
        Ok(mount::mount_id(fd)? == mount::mount_id(&self.tree)?)
    }

    /// Walks `path` from the root for as far as it exists, each time letting the kernel resolve the whole prefix inside
    /// the root, and makes the rest below the last descriptor, so that no rename can lead it astray (CVE-2024-45310).
    /// A dangling link is followed inside the root and its target made, as container images rely on. Tells whether the
    /// last component was made, and not by somebody else in the meantime.
    fn create(&self, me: &InChild, path: &Path, kind: TargetKind, links: Links) -> Result<(OwnedFd, bool)> {
        // Mostly only the last component is missing, as with /dev/pts on a new /dev.
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Ok(parent) = self.open_raw(parent, Access::Dir, links.resolve())
            && create_one(&parent, name, kind)?
        {
            let made = open_made(&parent, name)?;
            this_process::leave_open(me, parent);
            return Ok((made, true));
        }
        let mut rest = components(path);
        let mut prefix = PathBuf::new();
        let mut at = self.open_raw(&prefix, Access::Dir, links.resolve())?;
        let mut seen = 0;
        while let Some(name) = rest.pop_front() {
            match self.open_raw(&prefix.join(&name), Access::Path, links.resolve()) {
                Ok(fd) => {
                    prefix.push(&name);
                    at = fd;
                    continue;
                }
                Err(error) if error.is(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
            if !is_link(&at, &name)? {
                rest.push_front(name);
                return create_below(at, rest, kind);
            }
            seen += 1;
            if seen > MAX_LINKS || links == Links::Refuse {
                return Err(Error::sys(format!("open {}", path.display()), Errno::ELOOP));
            }
            let target = fs::readlink_at(&at, &name)?;
            if target.is_absolute() {
                prefix = PathBuf::new();
                at = self.open_raw(&prefix, Access::Dir, links.resolve())?;
            }
            for part in components(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
        Ok((at, false))
    }

    /// A handle of `/dev`, which must be a directory and not reached through a link: what is made and removed there
    /// must not happen elsewhere (CVE-2026-41579, CVE-2026-47766).
    pub(super) fn open_dev(&self) -> Result<OwnedFd> {
        self.open_raw(Path::new("dev"), Access::Dir, Resolve::Beneath).map_err(|error| {
            if error.is(Errno::ELOOP) || error.is(Errno::ENOTDIR) {
                return Error::new(
                    ErrorKind::InvalidConfig,
                    "/dev in the root filesystem must be a directory, not a link",
                );
            }
            error.context("open /dev in the root filesystem")
        })
    }

    /// As [`Root::open_dev`], made first if it is missing.
    pub(super) fn create_dev(&self) -> Result<OwnedFd> {
        match self.open_dev() {
            Err(error) if error.is(Errno::ENOENT) => {
                create_one(&self.tree, OsStr::new("dev"), TargetKind::Dir)?;
                self.open_dev()
            }
            found => found,
        }
    }

    /// Opens the directory `path`, making what is missing.
    pub(super) fn create_dir(&self, me: &InChild, path: &ContainerPath) -> Result<OwnedFd> {
        if path.is_root() {
            return self.open(path, Access::Dir);
        }
        self.create_target(me, path, TargetKind::Dir, Links::Follow).map(|target| target.fd)
    }

    /// Looks for the directory `path` without following any link.
    pub(super) fn look(&self, path: &ContainerPath) -> Result<OwnedFd> {
        self.open_raw(path.below_root(), Access::Dir, Resolve::Beneath)
    }

    /// Whether what `stat` tells of is on the filesystem of the root.
    pub(super) fn is_on_same_filesystem(&self, stat: &Stat) -> bool {
        stat.device == self.stat.device
    }

    /// What the name `proc` in the root is, a link not followed.
    pub(super) fn stat_proc(&self) -> Option<Stat> {
        fs::stat_at(&self.tree, "proc").ok()
    }

    /// A handle of the container's null device, proven to be one: masks are made of it (CVE-2025-31133).
    ///
    /// # Errors
    /// When /dev/null is missing or anything else than character device 1:3.
    pub(super) fn null_handle(&self) -> Result<OwnedFd> {
        self.verified("dev/null", Access::Path, |_, stat| Ok(stat.is_char(1, 3)), "character device 1:3")
    }

    /// Opens the container's null device for reading and writing, for stdio.
    ///
    /// # Errors
    /// When /dev/null is missing or anything else than character device 1:3 (CVE-2026-88265).
    pub fn open_null(&self, me: &InChild) -> Result<OwnedFd> {
        // Looked at by handle first: opening an unknown device may do something.
        this_process::leave_open(me, self.null_handle()?);
        self.verified("dev/null", Access::ReadWrite, |_, stat| Ok(stat.is_char(1, 3)), "character device 1:3")
    }

    /// Opens the container's own `/dev/pts/ptmx`, which makes a new terminal of its devpts.
    ///
    /// # Errors
    /// When there is no devpts at /dev/pts, or what lies there is no ptmx of a devpts (CVE-2025-52565).
    pub fn open_ptmx(&self, _: &InChild) -> Result<OwnedFd> {
        // The kernel gives ptmx inode 2 in every devpts.
        let proven = |fd: &OwnedFd, stat: &Stat| {
            Ok(stat.is_char(5, 2) && stat.inode == 2 && fs::filesystem_magic(fd)? == magic::DEVPTS)
        };
        let expected = "the ptmx of a devpts";
        let open = |access| self.verified("dev/pts/ptmx", access, proven, expected);
        open(Access::Path)
            .and_then(|_| open(Access::ReadWrite))
            .context("a terminal needs a devpts mounted at /dev/pts")
    }

    fn verified(
        &self,
        path: &str,
        access: Access,
        proven: impl Fn(&OwnedFd, &Stat) -> Result<bool>,
        expected: &str,
    ) -> Result<OwnedFd> {
        let fd = self
            .open_raw(Path::new(path), access, Resolve::Beneath)
            .map_err(|error| error.phrased(format!("open /{path} of the container")))?;
        if proven(&fd, &fs::stat(&fd)?)? {
            return Ok(fd);
        }
        let text = format!("container's /{path} is invalid: it is not {expected}");
        Err(Error::new(ErrorKind::InvalidConfig, text))
    }

    /// Mounts the terminal `peer`, which lies in a mount of this namespace, on `/dev/console`, made if it is missing.
    ///
    /// # Errors
    /// When /dev/console is a link or a directory (CVE-2026-88264), or can't be made.
    pub fn bind_console(&self, me: &InChild, peer: BorrowedFd<'_>) -> Result<()> {
        let bind = || {
            let dev = self.open_dev()?;
            match fs::mknod_at(&dev, "console", NodeKind::File, 0o600, DeviceNumber::default()) {
                // A read-only /dev is fine as long as the console is there.
                Err(error) if !error.is(Errno::EEXIST) && !error.is(Errno::EROFS) => return Err(error),
                _ => {}
            }
            let target = fs::open_at(&dev, "console", Access::Path, Resolve::Beneath)?;
            if fs::stat(&target)?.is_dir() {
                return Err(Error::sys("mount on /dev/console", Errno::EISDIR));
            }
            mount::attach(me, mount::clone_at(peer, Depth::Top)?, target)
        };
        bind().context("mount the terminal on /dev/console")
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }
}

/// The components of a path that the kernel would walk, `..` included.
fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Whether `name` exists in `dir` as a link; it does not exist, or dangles.
fn is_link(dir: &OwnedFd, name: &OsStr) -> Result<bool> {
    match fs::stat_at(dir, name) {
        Ok(stat) => Ok(stat.is_symlink()),
        Err(error) if error.is(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the components below `at` one by one, opening each without following links. What somebody else has made in the
/// meantime is fine if it is what we open so.
fn create_below(mut at: OwnedFd, mut names: VecDeque<OsString>, kind: TargetKind) -> Result<(OwnedFd, bool)> {
    let mut made = false;
    while let Some(name) = names.pop_front() {
        made = create_one(&at, &name, if names.is_empty() { kind } else { TargetKind::Dir })?;
        at = open_made(&at, &name)?;
    }
    Ok((at, made))
}

/// Makes a directory 0755 or a file 0644; false when there is something of that name already, be it a link.
fn create_one(dir: &OwnedFd, name: &OsStr, kind: TargetKind) -> Result<bool> {
    let made = match kind {
        TargetKind::Dir => fs::mkdir_at(dir, name, 0o755),
        TargetKind::File => fs::mknod_at(dir, name, NodeKind::File, 0o644, DeviceNumber::default()),
    };
    match made {
        Err(error) if error.is(Errno::EEXIST) => Ok(false),
        made => made.map(|()| true),
    }
}

fn open_made(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    fs::open_at(dir, name, Access::Path, Resolve::Beneath)
}
