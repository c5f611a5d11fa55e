//! Files by descriptor: resolution that cannot be led astray (openat2), and operations below an open directory.

use super::Errno;
use crate::error::{Error, Result};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, Mode, SFlag};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Magic numbers of `statfs(2)` that we check.
pub mod magic {
    /// cgroup2 (`CGROUP2_SUPER_MAGIC`).
    pub const CGROUP2: i64 = 0x6367_7270;
    /// tmpfs and memfds (`TMPFS_MAGIC`).
    pub const TMPFS: i64 = 0x0102_1994;
    /// procfs (`PROC_SUPER_MAGIC`).
    pub const PROC: i64 = 0x9fa0;
    /// devpts (`DEVPTS_SUPER_MAGIC`).
    pub const DEVPTS: i64 = 0x1cd1;
    /// The filesystem of pipes without a name (`PIPEFS_MAGIC`).
    pub const PIPEFS: i64 = 0x5049_5045;
    /// nsfs (`NSFS_MAGIC`).
    pub const NSFS: i64 = 0x6e73_6673;
    /// resctrl (`RDTGROUP_SUPER_MAGIC`).
    pub const RESCTRL: i64 = 0x0765_5821;
}

/// The inode number of the root of every procfs.
pub const PROC_ROOT_INODE: u64 = 1;

/// What a descriptor is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A handle only (`O_PATH`).
    Path,
    /// A handle only, of the link itself if it is one.
    PathNoFollow,
    /// A handle to a directory only (`O_PATH | O_DIRECTORY`).
    Dir,
    /// Reading.
    Read,
    /// Reading what must not make us wait, such as what may turn out to be a FIFO (`O_NONBLOCK`).
    ReadUnsure,
    /// Writing, never creating or truncating.
    Write,
    /// Reading and writing.
    ReadWrite,
    /// A directory for listing.
    ReadDir,
    /// Writing without ever waiting; a named pipe that nobody has open for reading is refused with ENXIO.
    WriteNoWait,
}

impl Access {
    fn flags(self) -> OFlag {
        let flags = match self {
            Self::Path => OFlag::O_PATH,
            Self::PathNoFollow => OFlag::O_PATH | OFlag::O_NOFOLLOW,
            Self::Dir => OFlag::O_PATH | OFlag::O_DIRECTORY,
            Self::Read => OFlag::O_RDONLY,
            Self::ReadUnsure => OFlag::O_RDONLY | OFlag::O_NONBLOCK,
            Self::Write => OFlag::O_WRONLY,
            Self::ReadWrite => OFlag::O_RDWR,
            Self::ReadDir => OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            Self::WriteNoWait => OFlag::O_WRONLY | OFlag::O_NONBLOCK,
        };
        // openat2 refuses O_NOCTTY together with O_PATH, where open ignores it.
        let no_terminal = if flags.contains(OFlag::O_PATH) { OFlag::empty() } else { OFlag::O_NOCTTY };
        flags | no_terminal | OFlag::O_CLOEXEC
    }
}

/// How a path below an open directory is resolved; see openat2(2). Magic links are refused in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    /// The directory is the root: absolute links and `..` stay inside. For paths inside a container.
    InRoot,
    /// As `InRoot`, but the last component must not be a link.
    InRootNoFollow,
    /// No link, no `..` out. For what we own.
    Beneath,
    /// No link, no `..` out, no other mount. For procfs and cgroup files.
    BeneathOneMount,
    /// As `BeneathOneMount`, but ordinary links such as `self` in procfs are followed.
    ProcSelf,
}

impl Resolve {
    fn flags(self) -> ResolveFlag {
        let flags = match self {
            Self::InRoot | Self::InRootNoFollow => ResolveFlag::RESOLVE_IN_ROOT,
            Self::Beneath => ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
            Self::BeneathOneMount => {
                ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV
            }
            Self::ProcSelf => ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV,
        };
        flags | ResolveFlag::RESOLVE_NO_MAGICLINKS
    }
}

/// How long openat2 is repeated when renames or mounts race with it (it answers EAGAIN).
const RACE_LIMIT: Duration = Duration::from_millis(250);

/// Opens `path` below `dir`.
///
/// # Errors
/// The errno of openat2(2). EAGAIN after a quarter of a second of repeating: somebody is renaming what we resolve.
pub fn open_at(dir: impl AsFd, path: impl AsRef<Path>, access: Access, resolve: Resolve) -> Result<OwnedFd> {
    let path = path.as_ref();
    let mut flags = access.flags();
    if resolve == Resolve::InRootNoFollow {
        flags |= OFlag::O_NOFOLLOW;
    }
    let how = OpenHow::new().flags(flags).resolve(resolve.flags());
    let mut racing_since = None;
    loop {
        match nix::fcntl::openat2(&dir, path, how) {
            Ok(fd) => return Ok(fd),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if racing_since.get_or_insert_with(Instant::now).elapsed() < RACE_LIMIT => {}
            Err(errno) => return Err(Error::sys(format!("openat2({})", path.display()), errno)),
        }
    }
}

/// The directory at `path` without links, absolute.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    let failed = |errno| Error::sys(format!("chdir {}", path.display()), errno);
    let flags = Access::Dir.flags();
    let dir = nix::fcntl::openat(nix::fcntl::AT_FDCWD, path, flags, Mode::empty()).map_err(failed)?;
    nix::fcntl::readlink(fd_path(&dir).as_str()).map(PathBuf::from).map_err(failed)
}

/// Opens a path of the host, following its links, as the caller named it.
pub fn open(path: impl AsRef<Path>, access: Access) -> Result<OwnedFd> {
    let path = path.as_ref();
    // Not open(3): musl's makes sure of O_CLOEXEC by one more call, for kernels that don't know it.
    nix::fcntl::openat(nix::fcntl::AT_FDCWD, path, access.flags(), Mode::empty())
        .map_err(|errno| Error::sys(format!("open {}", path.display()), errno))
}

/// Creates the file `name` in `dir`, which must not exist, with exactly `mode` less the umask, for writing.
pub fn create_at(dir: impl AsFd, name: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
    let name = name.as_ref();
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(mode))
        .map_err(|errno| Error::sys(format!("create {}", name.display()), errno))
}

/// Makes the directory `name` in `dir`.
pub fn mkdir_at(dir: impl AsFd, name: impl AsRef<Path>, mode: u32) -> Result<()> {
    let name = name.as_ref();
    stat::mkdirat(dir, name, Mode::from_bits_truncate(mode))
        .map_err(|errno| Error::sys(format!("mkdir {}", name.display()), errno))
}

/// Removes the empty directory `name` in `dir`.
pub fn rmdir_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::RemoveDir)
        .map_err(|errno| Error::sys(format!("rmdir {}", name.display()), errno))
}

/// Removes the file `name` in `dir`.
pub fn unlink_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::NoRemoveDir)
        .map_err(|errno| Error::sys(format!("unlink {}", name.display()), errno))
}

/// Renames `from` to `to`, both in `dir`, replacing `to`.
pub fn rename_at(dir: impl AsFd, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    nix::fcntl::renameat(&dir, from, &dir, to)
        .map_err(|errno| Error::sys(format!("rename {} {}", from.display(), to.display()), errno))
}

/// Makes the symbolic link `name` in `dir`, pointing to `target`.
pub fn symlink_at(target: impl AsRef<Path>, dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    nix::unistd::symlinkat(target.as_ref(), dir, name)
        .map_err(|errno| Error::sys(format!("symlink {}", name.display()), errno))
}

/// The target of the symbolic link `name` in `dir`.
pub fn readlink_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<PathBuf> {
    let name = name.as_ref();
    nix::fcntl::readlinkat(dir, name)
        .map(PathBuf::from)
        .map_err(|errno| Error::sys(format!("readlink {}", name.display()), errno))
}

/// The kinds of inode that [`mknod_at`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// An empty regular file.
    File,
    /// A named pipe.
    Fifo,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl NodeKind {
    fn flag(self) -> SFlag {
        match self {
            Self::File => SFlag::S_IFREG,
            Self::Fifo => SFlag::S_IFIFO,
            Self::Char => SFlag::S_IFCHR,
            Self::Block => SFlag::S_IFBLK,
        }
    }
}

/// A device's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u64,
    /// Which of its devices.
    pub minor: u64,
}

/// Makes the inode `name` in `dir`; `number` counts for devices only.
pub fn mknod_at(dir: impl AsFd, name: impl AsRef<Path>, kind: NodeKind, mode: u32, number: DeviceNumber) -> Result<()> {
    let name = name.as_ref();
    let device = stat::makedev(number.major, number.minor);
    stat::mknodat(dir, name, kind.flag(), Mode::from_bits_truncate(mode), device)
        .map_err(|errno| Error::sys(format!("mknod {}", name.display()), errno))
}

/// What fstat(2) tells about an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// File type and permission bits (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Inode number.
    pub inode: u64,
    /// The filesystem's device.
    pub device: u64,
    /// Numbers of the device that the inode is, if it is one.
    pub special: DeviceNumber,
    /// Number of hard links.
    pub links: u64,
    /// Length of a file in bytes.
    pub size: u64,
}

impl Stat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.format() == SFlag::S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.format() == SFlag::S_IFREG
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.format() == SFlag::S_IFLNK
    }

    /// Whether it is the character device with these numbers.
    pub fn is_char(&self, major: u64, minor: u64) -> bool {
        self.format() == SFlag::S_IFCHR && self.special == DeviceNumber { major, minor }
    }

    /// Whether it is the block device with these numbers.
    pub fn is_block(&self, major: u64, minor: u64) -> bool {
        self.format() == SFlag::S_IFBLK && self.special == DeviceNumber { major, minor }
    }

    /// Whether it is a named pipe.
    pub fn is_fifo(&self) -> bool {
        self.format() == SFlag::S_IFIFO
    }

    /// Whether it is a character or block device.
    pub fn is_device(&self) -> bool {
        self.format() == SFlag::S_IFCHR || self.format() == SFlag::S_IFBLK
    }

    fn format(&self) -> SFlag {
        SFlag::from_bits_truncate(self.mode & SFlag::S_IFMT.bits())
    }

    fn of(stat: stat::FileStat) -> Self {
        Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            inode: stat.st_ino,
            device: stat.st_dev,
            special: DeviceNumber { major: stat::major(stat.st_rdev), minor: stat::minor(stat.st_rdev) },
            links: stat.st_nlink,
            size: stat.st_size as u64,
        }
    }
}

/// What kind of file `fd` is, whose it is and which.
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    stat::fstat(fd).map(Stat::of).map_err(|errno| Error::sys("fstat", errno))
}

/// As [`stat()`] for `name` in `dir`; a link is not followed.
pub fn stat_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<Stat> {
    let name = name.as_ref();
    stat::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map(Stat::of)
        .map_err(|errno| Error::sys(format!("fstatat {}", name.display()), errno))
}

/// As [`stat()`] for what `path` names now; a link is not followed.
pub fn stat_path(path: &Path) -> Result<Stat> {
    stat::lstat(path).map(Stat::of).map_err(|errno| Error::sys(format!("lstat {}", path.display()), errno))
}

/// As [`stat_path()`]; a link is followed.
pub fn stat_followed(path: &Path) -> Result<Stat> {
    stat::stat(path).map(Stat::of).map_err(|errno| Error::sys(format!("stat {}", path.display()), errno))
}

/// What fstatfs(2) tells of the filesystem that a file is on.
#[derive(Debug, Clone, Copy)]
pub struct Filesystem {
    /// Its kind; see [`magic`].
    pub magic: i64,
    /// Whether the filesystem, or the mount of it that the file was reached through, is read-only.
    pub read_only: bool,
}

/// What `fd` is on.
pub fn filesystem(fd: impl AsFd) -> Result<Filesystem> {
    let found = nix::sys::statfs::fstatfs(fd).map_err(|errno| Error::sys("fstatfs", errno))?;
    Ok(Filesystem::of(&found))
}

/// What the file at `path` is on; links are followed.
pub fn filesystem_of(path: &str) -> Result<Filesystem> {
    let found = nix::sys::statfs::statfs(path).map_err(|errno| Error::sys(format!("statfs {path}"), errno))?;
    Ok(Filesystem::of(&found))
}

impl Filesystem {
    #[allow(clippy::unnecessary_cast, reason = "the number has a sign in glibc and none in musl")]
    fn of(found: &nix::sys::statfs::Statfs) -> Self {
        Self {
            magic: found.filesystem_type().0 as i64,
            read_only: found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY),
        }
    }
}

/// The magic number of the filesystem that `fd` is on; see [`magic`].
pub fn filesystem_magic(fd: impl AsFd) -> Result<i64> {
    filesystem(fd).map(|filesystem| filesystem.magic)
}

/// Whether the descriptor was opened for writing.
pub fn is_writable(fd: impl AsFd) -> Result<bool> {
    let flags =
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).map_err(|errno| Error::sys("fcntl(F_GETFL)", errno))?;
    Ok(OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE != OFlag::O_RDONLY)
}

/// Sets owner and group of `fd`, which may be a handle only; `None` leaves one as it is.
pub fn chown(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let uid = uid.map(nix::unistd::Uid::from_raw);
    let gid = gid.map(nix::unistd::Gid::from_raw);
    nix::unistd::fchownat(fd, "", uid, gid, AtFlags::AT_EMPTY_PATH).map_err(|errno| Error::sys("fchownat", errno))
}

/// Writes all of `data` in one write(2), as files of procfs and cgroupfs demand.
///
/// # Errors
/// The errno of write(2), or EIO when the kernel took less.
pub fn write(fd: impl AsFd, data: &[u8]) -> Result<()> {
    loop {
        match nix::unistd::write(&fd, data) {
            Ok(count) if count == data.len() => return Ok(()),
            Ok(_) => return Err(Error::sys("write", Errno::EIO)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("write", errno)),
        }
    }
}

/// Writes what the other side takes at once and returns how much that was.
pub fn write_some(fd: impl AsFd, data: &[u8]) -> Result<usize> {
    loop {
        match nix::unistd::write(&fd, data) {
            Err(Errno::EINTR) => {}
            result => return result.map_err(|errno| Error::sys("write", errno)),
        }
    }
}

/// Writes all of `data`, in as many pieces as it takes.
pub fn write_all(fd: impl AsFd, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let count = write_some(&fd, data)?;
        data = &data[count..];
    }
    Ok(())
}

/// Reads up to `buffer.len()` bytes; 0 is the end.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match nix::unistd::read(&fd, buffer) {
            Err(Errno::EINTR) => {}
            result => return result.map_err(|errno| Error::sys("read", errno)),
        }
    }
}

/// Reads everything up to the end, at most `limit` bytes.
///
/// # Errors
/// The errno of read(2); EFBIG when there is more than `limit`.
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    read_until(fd, limit, 1 << 12, |count, _| count == 0)
}

/// As [`read_all`], in one go where the size is known.
pub fn read_sized(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let stat = stat(&fd)?;
    // Those of procfs have none.
    if stat.size == 0 {
        return read_all(fd, limit);
    }
    // One byte more, so that the end shows.
    let size = usize::try_from(stat.size).unwrap_or(limit).min(limit) + 1;
    read_until(fd, limit, size, |count, room| count < room)
}

/// As [`read_all`], for files of which a read gets all that is left if there is room for it: regular ones, and those of
/// procfs and cgroupfs that are no lists. Less than there was room for is the end.
pub fn read_whole(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    read_until(fd, limit, 1 << 12, |count, room| count < room)
}

fn read_until(fd: impl AsFd, limit: usize, step: usize, is_end: fn(usize, usize) -> bool) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let length = data.len();
        data.resize(length + step, 0);
        let count = read(&fd, &mut data[length..])?;
        data.truncate(length + count);
        if data.len() > limit {
            return Err(Error::sys("read", Errno::EFBIG));
        }
        if is_end(count, step) {
            return Ok(data);
        }
    }
}

/// The names in the open directory `dir`, without `.` and `..`, sorted.
pub fn names(dir: impl AsFd) -> Result<Vec<OsString>> {
    entries(dir, |_| true)
}

/// The names of the directories in the open directory `dir`, sorted, where the filesystem tells types with the names,
/// as cgroupfs and procfs do.
pub fn directory_names(dir: impl AsFd) -> Result<Vec<OsString>> {
    entries(dir, |entry| entry.file_type() == Some(nix::dir::Type::Directory))
}

fn entries(dir: impl AsFd, wanted: impl Fn(&nix::dir::Entry) -> bool) -> Result<Vec<OsString>> {
    let listed = nix::dir::Dir::openat(dir, ".", Access::ReadDir.flags(), Mode::empty())
        .map_err(|errno| Error::sys("openat(.)", errno))?;
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|errno| Error::sys("getdents64", errno))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && wanted(&entry) {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Lets reads and writes return EAGAIN instead of waiting. Counts for every descriptor of the same open file.
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let flags = nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(fd, flags).map(drop).map_err(|errno| Error::sys("fcntl(O_NONBLOCK)", errno))
}

/// A second descriptor of the same open file, close-on-exec.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned().map_err(|error| Error::io("dup", &error))
}

/// Opens the file behind `fd` once more: an open file of our own, with flags and offset that nobody shares.
pub fn reopen(fd: impl AsFd, access: Access) -> Result<OwnedFd> {
    open(fd_path(fd), access)
}

/// The path that leads to what `fd` is open for.
fn fd_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// The path of `fd` as procfs shows it: for messages only, never to be opened.
pub fn shown_path(fd: impl AsFd) -> PathBuf {
    nix::fcntl::readlink(fd_path(fd).as_str())
        .map_or_else(|_| PathBuf::from("?"), |path| PathBuf::from(OsString::from_vec(path.into_vec())))
}
