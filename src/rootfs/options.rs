//! The mount options that onggi reads itself; any other word is data for the filesystem.
//!
//! Spec: config.md, "Linux mount options". A bind changes only what its options name.

use crate::sys::mount::{AccessTime, Attribute, Attributes, Depth, Propagation};

/// What one option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// `defaults`, and flags without a meaning for the mount API: `silent` and `loud` are about log messages of the
    /// old call, `iversion` is the filesystems' own choice since 5.17.
    Nothing,
    Bind(Depth),
    Set(Attribute, Depth),
    Clear(Attribute, Depth),
    Atime(AccessTime, Depth),
    /// Takes back an earlier option of the list.
    UndoAtime(AccessTime),
    /// A flag of the filesystem rather than of the mount.
    Super(&'static str),
    /// Takes one back, by the word that does so for a filesystem which is there.
    UndoSuper(&'static str, &'static str),
    /// `ro` and `rw` are about both.
    ReadOnly,
    ReadWrite,
    Propagation(Propagation, Depth),
    Idmap(Depth),
    Remount,
    CopyUp,
}

/// Every option we read, sorted by name for the search and for `features`.
const TABLE: &[(&str, Effect)] = &[
    ("async", Effect::UndoSuper("sync", "async")),
    ("atime", Effect::UndoAtime(AccessTime::Never)),
    ("bind", Effect::Bind(Depth::Top)),
    ("defaults", Effect::Nothing),
    ("dev", Effect::Clear(Attribute::NO_DEV, Depth::Top)),
    ("diratime", Effect::Clear(Attribute::NO_DIR_ATIME, Depth::Top)),
    ("dirsync", Effect::Super("dirsync")),
    ("exec", Effect::Clear(Attribute::NO_EXEC, Depth::Top)),
    ("idmap", Effect::Idmap(Depth::Top)),
    ("iversion", Effect::Nothing),
    ("lazytime", Effect::Super("lazytime")),
    ("loud", Effect::Nothing),
    ("mand", Effect::Super("mand")),
    ("noatime", Effect::Atime(AccessTime::Never, Depth::Top)),
    ("nodev", Effect::Set(Attribute::NO_DEV, Depth::Top)),
    ("nodiratime", Effect::Set(Attribute::NO_DIR_ATIME, Depth::Top)),
    ("noexec", Effect::Set(Attribute::NO_EXEC, Depth::Top)),
    ("noiversion", Effect::Nothing),
    ("nolazytime", Effect::UndoSuper("lazytime", "nolazytime")),
    ("nomand", Effect::UndoSuper("mand", "nomand")),
    ("norelatime", Effect::UndoAtime(AccessTime::Relative)),
    ("nostrictatime", Effect::UndoAtime(AccessTime::Strict)),
    ("nosuid", Effect::Set(Attribute::NO_SUID, Depth::Top)),
    ("nosymfollow", Effect::Set(Attribute::NO_SYMFOLLOW, Depth::Top)),
    ("private", Effect::Propagation(Propagation::Private, Depth::Top)),
    ("ratime", Effect::Atime(AccessTime::Relative, Depth::All)),
    ("rbind", Effect::Bind(Depth::All)),
    ("rdev", Effect::Clear(Attribute::NO_DEV, Depth::All)),
    ("rdiratime", Effect::Clear(Attribute::NO_DIR_ATIME, Depth::All)),
    ("relatime", Effect::Atime(AccessTime::Relative, Depth::Top)),
    ("remount", Effect::Remount),
    ("rexec", Effect::Clear(Attribute::NO_EXEC, Depth::All)),
    ("ridmap", Effect::Idmap(Depth::All)),
    ("rnoatime", Effect::Atime(AccessTime::Never, Depth::All)),
    ("rnodev", Effect::Set(Attribute::NO_DEV, Depth::All)),
    ("rnodiratime", Effect::Set(Attribute::NO_DIR_ATIME, Depth::All)),
    ("rnoexec", Effect::Set(Attribute::NO_EXEC, Depth::All)),
    ("rnorelatime", Effect::Atime(AccessTime::Relative, Depth::All)),
    ("rnostrictatime", Effect::Atime(AccessTime::Relative, Depth::All)),
    ("rnosuid", Effect::Set(Attribute::NO_SUID, Depth::All)),
    ("rnosymfollow", Effect::Set(Attribute::NO_SYMFOLLOW, Depth::All)),
    ("ro", Effect::ReadOnly),
    ("rprivate", Effect::Propagation(Propagation::Private, Depth::All)),
    ("rrelatime", Effect::Atime(AccessTime::Relative, Depth::All)),
    ("rro", Effect::Set(Attribute::READ_ONLY, Depth::All)),
    ("rrw", Effect::Clear(Attribute::READ_ONLY, Depth::All)),
    ("rshared", Effect::Propagation(Propagation::Shared, Depth::All)),
    ("rslave", Effect::Propagation(Propagation::Slave, Depth::All)),
    ("rstrictatime", Effect::Atime(AccessTime::Strict, Depth::All)),
    ("rsuid", Effect::Clear(Attribute::NO_SUID, Depth::All)),
    ("rsymfollow", Effect::Clear(Attribute::NO_SYMFOLLOW, Depth::All)),
    ("runbindable", Effect::Propagation(Propagation::Unbindable, Depth::All)),
    ("rw", Effect::ReadWrite),
    ("shared", Effect::Propagation(Propagation::Shared, Depth::Top)),
    ("silent", Effect::Nothing),
    ("slave", Effect::Propagation(Propagation::Slave, Depth::Top)),
    ("strictatime", Effect::Atime(AccessTime::Strict, Depth::Top)),
    ("suid", Effect::Clear(Attribute::NO_SUID, Depth::Top)),
    ("symfollow", Effect::Clear(Attribute::NO_SYMFOLLOW, Depth::Top)),
    ("sync", Effect::Super("sync")),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", Effect::Propagation(Propagation::Unbindable, Depth::Top)),
];

/// The names of the options that we read, sorted (`mountOptions` of `features`). Those of ID-mapped mounts are an extension
/// with an entry of its own there.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().filter(|(_, effect)| !matches!(effect, Effect::Idmap(_))).map(|(name, _)| *name).collect()
}

/// A list of options, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    /// Whether it is a bind, and of one mount or of all below it.
    pub bind: Option<Depth>,
    /// Changes of the mount itself.
    pub attributes: Attributes,
    /// Changes of the mount and all below it.
    pub recursive: Attributes,
    /// Flags of the filesystem.
    pub superblock: Vec<&'static str>,
    /// Words that take such flags back.
    undone: Vec<&'static str>,
    /// Changes of propagation, in order.
    pub propagation: Vec<(Propagation, Depth)>,
    /// Whether ids are mapped, and of one mount or of all below it.
    pub idmap: Option<Depth>,
    /// Whether it changes a mount that is there.
    pub remount: bool,
    /// Whether a tmpfs begins with what it covers.
    pub copy_up: bool,
    /// Everything else: key and value.
    pub data: Vec<Datum>,
}

/// One option for the filesystem itself: its key, and its value if it has one.
pub(super) type Datum = (String, Option<String>);

/// Reads the options of one mount.
pub(super) fn parse(words: &[String]) -> Options {
    let mut options = Options::default();
    for word in words {
        match TABLE.binary_search_by(|(name, _)| (*name).cmp(word)) {
            Ok(index) => options.apply(TABLE[index].1),
            Err(_) => options.data.extend(split_data(word)),
        }
    }
    options
}

impl Options {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Bind(depth) => self.bind = Some(depth),
            Effect::Set(attribute, depth) => self.change(depth, |change| change.with(attribute)),
            Effect::Clear(attribute, depth) => self.change(depth, |change| change.without(attribute)),
            Effect::Atime(choice, depth) => self.change(depth, |change| change.with_atime(choice)),
            Effect::UndoAtime(choice) => self.change(Depth::Top, |change| change.undo_atime(choice)),
            Effect::Super(flag) => self.set_super(flag),
            Effect::UndoSuper(flag, undo) => self.undo_super(flag, undo),
            Effect::ReadOnly => {
                self.change(Depth::Top, |change| change.with(Attribute::READ_ONLY));
                self.set_super("ro");
            }
            Effect::ReadWrite => {
                self.change(Depth::Top, |change| change.without(Attribute::READ_ONLY));
                self.undo_super("ro", "rw");
            }
            Effect::Propagation(propagation, depth) => self.propagation.push((propagation, depth)),
            Effect::Idmap(depth) => self.idmap = Some(depth),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
        }
    }

    /// The flags of a filesystem that is changed: also those that are to go.
    pub(super) fn remounted(&self) -> Vec<&'static str> {
        [self.superblock.as_slice(), self.undone.as_slice()].concat()
    }

    fn change(&mut self, depth: Depth, how: impl FnOnce(Attributes) -> Attributes) {
        let field = match depth {
            Depth::Top => &mut self.attributes,
            Depth::All => &mut self.recursive,
        };
        *field = how(*field);
    }

    fn set_super(&mut self, flag: &'static str) {
        if !self.superblock.contains(&flag) {
            self.superblock.push(flag);
        }
    }

    fn undo_super(&mut self, flag: &str, undo: &'static str) {
        self.superblock.retain(|set| *set != flag);
        self.undone.push(undo);
    }
}

/// Splits filesystem data at its commas, but not inside double quotes: an SELinux context may hold commas.
fn split_data(word: &str) -> Vec<Datum> {
    let mut quoted = false;
    word.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .filter(|part| !part.is_empty())
    .map(|part| match part.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.trim_matches('"').to_owned())),
        None => (part.to_owned(), None),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Options {
        let words = words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        parse(&words)
    }

    fn check(words: &str, attributes: Attributes, recursive: Attributes) {
        let options = read(words);
        assert_eq!((options.attributes, options.recursive), (attributes, recursive), "{words}");
    }

    const NONE: Attributes = Attributes::NONE;

    #[test]
    fn the_table_is_sorted_and_every_word_is_there_once() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(names().contains(&"rbind") && !names().contains(&"idmap"));
    }

    #[test]
    fn later_words_win() {
        check("nosuid suid", NONE.without(Attribute::NO_SUID), NONE);
        check("dev nodev", NONE.with(Attribute::NO_DEV), NONE);
        check("ro rw", NONE.without(Attribute::READ_ONLY), NONE);
        check("noatime strictatime", NONE.with_atime(AccessTime::Strict), NONE);
    }

    #[test]
    fn negated_access_times_only_take_back() {
        check("noatime atime", NONE, NONE);
        check("atime", NONE, NONE);
        check("strictatime atime", NONE.with_atime(AccessTime::Strict), NONE);
        check("relatime norelatime", NONE, NONE);
    }

    #[test]
    fn recursive_words_are_apart() {
        check("rro nodev", NONE.with(Attribute::NO_DEV), NONE.with(Attribute::READ_ONLY));
        check("ratime", NONE, NONE.with_atime(AccessTime::Relative));
    }

    #[test]
    fn filesystem_flags_and_read_only_reach_the_superblock() {
        assert_eq!(read("ro sync sync dirsync").superblock, ["ro", "sync", "dirsync"]);
        assert!(read("ro sync rw async").superblock.is_empty());
    }

    #[test]
    fn unknown_words_are_data() {
        let data = read("mode=755,size=1k newinstance context=\"a:b,c\"").data;
        let expected = [("mode", Some("755")), ("size", Some("1k")), ("newinstance", None), ("context", Some("a:b,c"))];
        let told: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(told, expected);
    }
}
