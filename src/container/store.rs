//! The directory of containers (`--root`): claiming an id, reading and removing what was claimed.
//!
//! Every access goes through a descriptor of the directory and follows no link. Files are replaced by rename, never
//! changed; nothing is synced, for the directory lies in memory (tmpfs) and is worthless after a reboot.

use super::id::ContainerId;
use super::record::Record;
use crate::error::{Context, Error, ErrorKind, Result, phrase};
use crate::sys::fs::{self, Access, DeviceNumber, NodeKind, Resolve};
use crate::sys::this_process::unmasked;
use crate::sys::{Errno, machine};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The state file of a container.
const STATE: &str = "state.json";
/// What the state file is called until it is complete.
const STATE_DRAFT: &str = ".state.json.new";
/// The config.json that the container was made from.
const CONFIG: &str = "config.json";
/// The pipe at which the init process waits for `start`.
const GATE: &str = "exec.fifo";
/// The directory that the container gets to see, with the socket for word of its readiness.
const NOTIFY: &str = "notify";
/// That socket.
pub const NOTIFY_SOCKET: &str = "notify.sock";
/// The files here are far smaller; more is refused.
const LARGEST_FILE: usize = 16 << 20;

/// Where containers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The directory, absolute.
    path: PathBuf,
    kind: RootKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RootKind {
    /// `--root` was given.
    Given,
    /// `/run/onggi`.
    System,
    /// Below `$XDG_RUNTIME_DIR`.
    User,
}

impl Root {
    /// The directory of `--root`, or the default: `$XDG_RUNTIME_DIR/onggi` for users and for the fake root of a user
    /// namespace, `/run/onggi` otherwise.
    ///
    /// # Errors
    /// `InvalidArgument` for `/`.
    pub fn choose(given: Option<&Path>) -> Result<Self> {
        if let Some(given) = given {
            let path = std::path::absolute(given)
                .map_err(|error| Error::new(ErrorKind::InvalidArgument, format!("--root: {error}")))?;
            if path.components().all(|part| !matches!(part, std::path::Component::Normal(_))) {
                let refusal = "Option --root argument should not be set to /";
                return Err(Error::new(ErrorKind::InvalidArgument, refusal));
            }
            return Ok(Self { path, kind: RootKind::Given });
        }
        match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(directory) if !directory.is_empty() && is_users(machine::effective_uid()) => {
                Ok(Self { path: Path::new(&directory).join("onggi"), kind: RootKind::User })
            }
            _ => Ok(Self { path: PathBuf::from("/run/onggi"), kind: RootKind::System }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where [`Claim::make_notify`] makes the directory for the container `id`.
    pub fn notify_path(&self, id: &ContainerId) -> PathBuf {
        self.path.join(id.as_str()).join(NOTIFY)
    }

    /// The containers in it; `None` when there is no such directory.
    pub fn open(&self) -> Result<Option<Store>> {
        match self.open_dir() {
            Ok(dir) => Ok(Some(Store { dir: Rc::new(dir) })),
            Err(error) if error.is(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `$XDG_RUNTIME_DIR` may be anything in a strange environment, such as a directory that others can write to and plant
    /// containers in (CVE-2015-1331 and its family). What `--root` names is the caller's choice.
    fn open_dir(&self) -> Result<OwnedFd> {
        let (RootKind::User, Some(above), Some(name)) = (self.kind, self.path.parent(), self.path.file_name()) else {
            return fs::open(&self.path, Access::ReadDir);
        };
        let runtime_dir = fs::open(above, Access::Dir)?;
        check_private(&runtime_dir, above)?;
        let dir = fs::open_at(runtime_dir, name, Access::ReadDir, Resolve::Beneath)?;
        check_private(&dir, &self.path)?;
        Ok(dir)
    }

    /// As [`Root::open`]; makes the directory if it is missing, for its owner alone.
    ///
    /// # Errors
    /// One that names `--root`, when it can't be made.
    pub fn open_or_make(&self) -> Result<Store> {
        if let Some(store) = self.open().with_context(|| self.shown())? {
            return Ok(store);
        }
        let make = || -> std::io::Result<()> {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
            if self.kind == RootKind::User {
                // The sticky bit keeps cleaners of temporary files away (XDG base directory specification).
                std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o1700))?;
            }
            Ok(())
        };
        make().map_err(|error| {
            let error = Error::io(format!("mkdir {}", self.path.display()), &error).context(self.shown());
            match self.kind {
                RootKind::System if machine::effective_uid() != 0 => {
                    error.hint("XDG_RUNTIME_DIR is not set, below which users have it: set it, or use --root")
                }
                _ => error,
            }
        })?;
        self.open()?.ok_or_else(|| Error::sys(format!("open {}", self.path.display()), Errno::ENOENT))
    }

    /// Whether a missing directory is an error for `list`: only if somebody named it.
    pub fn must_exist(&self) -> bool {
        self.kind == RootKind::Given
    }

    /// Finds the container `id`.
    ///
    /// # Errors
    /// `NotFound` with the phrase that engines match on.
    pub fn find(&self, id: &ContainerId) -> Result<Entry> {
        self.open()?.ok_or_else(not_exist)?.find(id)
    }

    fn shown(&self) -> String {
        format!("state directory (--root {})", self.path.display())
    }
}

/// Refuses a directory that others can change.
fn check_private(dir: &OwnedFd, shown: &Path) -> Result<()> {
    let stat = fs::stat(dir)?;
    if stat.uid == machine::effective_uid() && stat.mode & 0o022 == 0 {
        return Ok(());
    }
    let text = format!("{} belongs to user {} with mode {:o}", shown.display(), stat.uid, stat.mode & 0o7777);
    let advice = "XDG_RUNTIME_DIR must be the caller's own and not writable by others: set it, or use --root";
    Err(Error::new(ErrorKind::Denied, text).hint(advice))
}

/// Whether `$XDG_RUNTIME_DIR` counts: for users, and for root inside a user namespace unless it was logged in as root.
/// The user namespace is looked at last, for that means reading a file.
fn is_users(euid: u32) -> bool {
    euid != 0 || (std::env::var_os("USER").is_none_or(|user| user != "root") && machine::in_user_namespace())
}

/// An open `--root`.
#[derive(Debug)]
pub struct Store {
    dir: Rc<OwnedFd>,
}

impl Store {
    /// Takes the id: makes its directory, which succeeds for one claimant only.
    ///
    /// # Errors
    /// `AlreadyExists` with runc's phrase when the id is in use, even by a stopped container.
    pub fn claim(&self, id: &ContainerId) -> Result<Claim> {
        let root = Rc::clone(&self.dir);
        match fs::mkdir_at(&root, id.as_str(), 0o700) {
            Err(error) if error.is(Errno::EEXIST) => {
                return Err(Error::new(ErrorKind::AlreadyExists, phrase::EXISTS));
            }
            result => {
                result.with_context(|| format!("state directory (--root {})", fs::shown_path(&self.dir).display()))?
            }
        }
        let dir = fs::open_at(&root, id.as_str(), Access::ReadDir, Resolve::Beneath).inspect_err(|_| {
            // Empty, and nobody else's: its name is taken only as long as it is there.
            let _ = fs::rmdir_at(&root, id.as_str());
        })?;
        let entry = Entry { root, dir: Rc::new(dir.into()), id: id.clone(), owner: machine::effective_uid() };
        Ok(Claim { entry, kept: false })
    }

    /// Finds the container `id`; it may still lack a readable state file.
    ///
    /// # Errors
    /// `NotFound` with the phrase that engines match on; `Denied` when the directory belongs to another user, whose
    /// hooks and pids we would trust.
    pub fn find(&self, id: &ContainerId) -> Result<Entry> {
        let dir = match fs::open_at(&self.dir, id.as_str(), Access::ReadDir, Resolve::Beneath) {
            Err(error) if error.is(Errno::ENOENT) => return Err(not_exist()),
            result => result?,
        };
        let owner = machine::effective_uid();
        check_owner(&dir, owner)?;
        Ok(Entry { root: Rc::clone(&self.dir), dir: Rc::new(dir.into()), id: id.clone(), owner })
    }

    /// The ids of all directories here, sorted; what cannot be an id is skipped.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let names = fs::names(&self.dir)?;
        let ids = names.iter().filter_map(|name| ContainerId::parse(name.to_str()?).ok());
        Ok(ids.filter(|id| fs::stat_at(&self.dir, id.as_str()).is_ok_and(|stat| stat.is_dir())).collect())
    }
}

fn not_exist() -> Error {
    Error::new(ErrorKind::NotFound, phrase::NOT_EXIST)
}

fn check_owner(file: impl AsFd, caller: u32) -> Result<()> {
    let uid = fs::stat(file)?.uid;
    if uid == caller {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, format!("container belongs to user {uid}, not to the caller ({caller})")))
}

/// The directory of one container. Clones share its descriptors.
#[derive(Debug, Clone)]
pub struct Entry {
    root: Rc<OwnedFd>,
    dir: Rc<File>,
    id: ContainerId,
    owner: u32,
}

/// Keeps other commands that change the container waiting until dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock(Rc<File>);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, because the entry holds the same descriptor and lives on.
        let _ = self.0.unlock();
    }
}

impl Entry {
    /// Who owns the directory, so who made the container.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Waits for and takes the container's lock (flock(2) on its directory). Commands that change its state hold it;
    /// those that only look, and `kill`, do not. `create` doesn't either: its child would inherit it.
    ///
    /// # Errors
    /// `NotFound` when the container was deleted meanwhile.
    pub fn lock(&self) -> Result<Lock> {
        self.dir.lock().map_err(|error| Error::io("flock", &error))?;
        let lock = Lock(Rc::clone(&self.dir));
        if fs::stat(&self.dir)?.links == 0 {
            return Err(not_exist());
        }
        Ok(lock)
    }

    /// Reads the state file.
    ///
    /// # Errors
    /// `NotFound` when there is none or it can't be understood: half a container is none.
    pub fn load(&self) -> Result<Record> {
        let bytes = match self.read(STATE) {
            Err(error) if error.is(Errno::ENOENT) => return Err(not_exist()),
            result => result?,
        };
        let unreadable =
            |why: String| Error::new(ErrorKind::NotFound, format!("{STATE}: {why}")).context(phrase::NOT_EXIST);
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.id != self.id {
            return Err(unreadable(format!("is of container {}", record.id)));
        }
        Ok(record)
    }

    /// Reads the config.json that the container was made from.
    ///
    /// # Errors
    /// `NotFound` for a container of an earlier version of onggi, which kept none.
    pub fn load_config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG).context("read the container's copy of config.json")
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let file = fs::open_at(&self.dir, name, Access::Read, Resolve::Beneath)?;
        check_owner(&file, self.owner)?;
        fs::read_whole(&file, LARGEST_FILE)
    }

    /// Whether the init process has not been started: it waits at the gate. The name alone proves nothing, since a
    /// `start` that is killed may leave it behind; the program does not have the gate open.
    pub fn has_gate(&self) -> Result<bool> {
        match fs::open_at(&self.dir, GATE, Access::WriteNoWait, Resolve::Beneath) {
            Ok(_) => Ok(true),
            Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENXIO) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets the init process go on: one byte into the gate, which is then removed. The lock makes one of two starters
    /// the first.
    ///
    /// # Errors
    /// `WrongState` when nobody waits at the gate: the init process is gone.
    pub fn release(&self, _: &Lock) -> Result<()> {
        let gate = match fs::open_at(&self.dir, GATE, Access::WriteNoWait, Resolve::Beneath) {
            Err(error) if error.is(Errno::ENXIO) => {
                return Err(Error::new(ErrorKind::WrongState, phrase::NOT_RUNNING));
            }
            result => result?,
        };
        fs::write(&gate, b"0")?;
        fs::unlink_at(&self.dir, GATE)
    }

    /// The directory for the socket by which the container tells that it is ready, if `create` made one.
    pub fn notify(&self) -> Result<Option<OwnedFd>> {
        match fs::open_at(&self.dir, NOTIFY, Access::Dir, Resolve::Beneath) {
            Err(error) if error.is(Errno::ENOENT) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Removes the directory with what is in it. What is gone already is fine.
    pub fn remove(&self) -> Result<()> {
        /// A `create` that is at work on the same id, and about to notice, writes a few files at most.
        const ATTEMPTS: usize = 100;
        // The state file goes first: what remains if we are interrupted counts as no container.
        for name in [STATE, CONFIG, GATE] {
            allow_missing(fs::unlink_at(&self.dir, name))?;
        }
        for _ in 0..ATTEMPTS {
            match fs::rmdir_at(&self.root, self.id.as_str()) {
                Err(error) if error.is(Errno::ENOTEMPTY) => self.empty()?,
                result => return allow_missing(result),
            }
        }
        allow_missing(fs::rmdir_at(&self.root, self.id.as_str()))
    }

    fn empty(&self) -> Result<()> {
        for name in fs::names(&self.dir)? {
            allow_missing(match fs::unlink_at(&self.dir, &name) {
                Err(error) if error.is(Errno::EISDIR) => remove_tree(&self.dir, &name),
                result => result,
            })?;
        }
        Ok(())
    }

    fn write(&self, record: &Record) -> Result<()> {
        let json = serde_json::to_vec(record)
            .map_err(|error| Error::new(ErrorKind::InvalidConfig, format!("write {STATE}: {error}")))?;
        let draft = match fs::create_at(&self.dir, STATE_DRAFT, 0o600) {
            Err(error) if error.is(Errno::EEXIST) => {
                fs::unlink_at(&self.dir, STATE_DRAFT)?;
                fs::create_at(&self.dir, STATE_DRAFT, 0o600)?
            }
            result => result?,
        };
        fs::write(&draft, &json)?;
        fs::rename_at(&self.dir, STATE_DRAFT, STATE)
    }

    /// Whether the directory of our name is still the one we have open.
    fn is_current(&self) -> bool {
        match (fs::stat(&self.dir), fs::stat_at(&self.root, self.id.as_str())) {
            (Ok(ours), Ok(named)) => (ours.device, ours.inode) == (named.device, named.inode),
            _ => false,
        }
    }
}

/// Removes a directory, and follows no link in it: a container without privileges of its caller's own may have been at
/// work in `notify`.
fn remove_tree(dir: &File, name: &OsStr) -> Result<()> {
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    std::fs::remove_dir_all(path).map_err(|error| Error::io(format!("remove {}", name.display()), &error))
}

fn allow_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is(Errno::ENOENT) => Ok(()),
        result => result,
    }
}

/// A freshly taken id. Dropped without [`Claim::keep`], its directory is removed again.
#[derive(Debug)]
pub struct Claim {
    entry: Entry,
    kept: bool,
}

impl Claim {
    /// Writes the state file, whole or not at all.
    pub fn write(&self, record: &Record) -> Result<()> {
        self.entry.write(record).context("save the container's state")
    }

    /// Keeps the container's config.json: what `exec` needs of it must not change with the bundle.
    pub fn keep_config(&self, text: &[u8]) -> Result<()> {
        let kept = || fs::write_all(fs::create_at(&self.entry.dir, CONFIG, 0o600)?, text);
        kept().context("keep a copy of config.json with the container's state")
    }

    /// Makes the gate at which the init process waits for `start`, and opens it for both directions, so that neither
    /// this open nor that of `start` waits. To be called before the clone; the child reads one byte.
    pub fn open_gate(&self) -> Result<OwnedFd> {
        fs::mknod_at(&self.entry.dir, GATE, NodeKind::Fifo, 0o600, DeviceNumber::default())?;
        fs::open_at(&self.entry.dir, GATE, Access::ReadWrite, Resolve::Beneath)
    }

    /// Makes the directory for the socket by which the container tells that it is ready. Every user of the container
    /// may look into it, though not reach it through ours.
    pub fn make_notify(&self) -> Result<OwnedFd> {
        unmasked(|| fs::mkdir_at(&self.entry.dir, NOTIFY, 0o755))?;
        fs::open_at(&self.entry.dir, NOTIFY, Access::Dir, Resolve::Beneath)
    }

    /// The container stands: its directory stays.
    pub fn keep(mut self) -> Entry {
        self.kept = true;
        self.entry.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // `delete --force` may have removed our directory and somebody else taken the id since.
        if !self.kept && self.entry.is_current() {
            let _ = self.entry.remove();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn store(name: &str) -> (Directory, Store, ContainerId) {
        let path = std::env::temp_dir().join(format!("onggi-store-{name}-{}", std::process::id()));
        let store = Root::choose(Some(&path)).unwrap().open_or_make().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        (Directory(path), store, ContainerId::parse("web").unwrap())
    }

    fn record(id: &str) -> Record {
        let text = r#"{"version": 1, "id": "ID", "bundle": "/", "rootfs": "/", "created": "", "phase": "created"}"#;
        serde_json::from_str(&text.replace("ID", id)).unwrap()
    }

    fn text_of<T>(result: Result<T>) -> String {
        result.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn root_argument() {
        for root in ["/", "//", "/.", "/.."] {
            assert_eq!(
                text_of(Root::choose(Some(Path::new(root)))),
                "Option --root argument should not be set to /",
                "{root}"
            );
        }
        assert!(Root::choose(Some(Path::new("relative"))).unwrap().path().is_absolute());
        let missing = Root::choose(Some(Path::new("/nonexistent/x"))).unwrap();
        assert!(missing.open().unwrap().is_none());
        assert_eq!(text_of(missing.find(&ContainerId::parse("a").unwrap())), phrase::NOT_EXIST);
        let below_a_file = Root::choose(Some(Path::new("/proc/version/x"))).unwrap();
        let text = text_of(below_a_file.open_or_make());
        assert!(text.contains("--root /proc/version/x") && text.ends_with(": not a directory"), "{text}");
    }

    #[test]
    fn the_users_own_directory_must_be_private() {
        let (runtime_dir, ..) = store("private");
        let own = runtime_dir.0.join("onggi");
        std::fs::create_dir(&own).unwrap();
        let open = |above, mode| {
            for (path, mode) in [(&runtime_dir.0, above), (&own, mode)] {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            Root { path: own.clone(), kind: RootKind::User }.open()
        };
        assert!(open(0o700, 0o1700).is_ok() && open(0o755, 0o755).is_ok());
        assert!(text_of(open(0o700, 0o1777)).contains("with mode 1777"));
        assert!(text_of(open(0o700, 0o770)).contains("not writable by others"));
        assert!(text_of(open(0o1777, 0o700)).contains("with mode 1777"));
        assert!(open(0o700, 0o700).is_ok());
        std::fs::remove_dir(&own).unwrap();
        std::os::unix::fs::symlink("/tmp", &own).unwrap();
        let text = text_of(Root { path: own, kind: RootKind::User }.open());
        assert!(text.contains("symbolic links"), "{text}");
    }

    #[test]
    fn claims_undo_themselves() {
        let (directory, store, id) = store("claim");
        let claim = store.claim(&id).unwrap();
        assert_eq!(text_of(store.claim(&id)), phrase::EXISTS);
        claim.write(&record("web")).unwrap();
        claim.write(&record("web")).unwrap();
        let _gate = claim.open_gate().unwrap();
        assert_eq!(store.ids().unwrap(), std::slice::from_ref(&id));
        drop(claim);
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
        assert_eq!(text_of(store.find(&id)), phrase::NOT_EXIST);

        let stale = store.claim(&id).unwrap();
        store.find(&id).unwrap().remove().unwrap();
        store.claim(&id).unwrap().keep();
        drop(stale);
        assert!(store.find(&id).is_ok(), "a claim removed another's directory");
    }

    #[test]
    fn half_a_container_is_none() {
        let (directory, store, id) = store("half");
        let claim = store.claim(&id).unwrap();
        assert_eq!(text_of(claim.entry.load()), phrase::NOT_EXIST);
        std::fs::write(directory.0.join("web/state.json"), "{").unwrap();
        let text = text_of(claim.entry.load());
        assert!(text.starts_with("container does not exist: state.json: EOF"), "{text}");
        claim.write(&record("other")).unwrap();
        assert_eq!(text_of(claim.entry.load()), "container does not exist: state.json: is of container other");
        claim.write(&record("web")).unwrap();
        assert_eq!(claim.entry.load().unwrap(), record("web"));
        std::fs::create_dir(directory.0.join("web/left")).unwrap();
        std::fs::write(directory.0.join("web/over"), "").unwrap();
    }

    #[test]
    fn gate() {
        let (_directory, store, id) = store("gate");
        let claim = store.claim(&id).unwrap();
        assert!(!claim.entry.has_gate().unwrap());
        let gate = claim.open_gate().unwrap();
        assert!(claim.entry.has_gate().unwrap());
        let lock = claim.entry.lock().unwrap();
        claim.entry.release(&lock).unwrap();
        let mut byte = [0; 8];
        assert_eq!(fs::read(&gate, &mut byte).unwrap(), 1);
        assert_eq!(byte[0], b'0');
        assert!(!claim.entry.has_gate().unwrap());
        drop(claim.open_gate().unwrap());
        assert_eq!(text_of(claim.entry.release(&lock)), phrase::NOT_RUNNING);
    }

    #[test]
    fn lock_is_given_back() {
        let (_directory, store, id) = store("lock");
        let claim = store.claim(&id).unwrap();
        let other = store.find(&id).unwrap();
        let lock = claim.entry.lock().unwrap();
        let file = std::fs::File::from(fs::duplicate(other.dir.as_fd()).unwrap());
        assert!(file.try_lock().is_err());
        drop(lock);
        drop(other.lock().unwrap());
        drop(claim);
        assert_eq!(text_of(other.lock()), phrase::NOT_EXIST);
    }
}
