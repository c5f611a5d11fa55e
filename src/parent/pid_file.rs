//! The `--pid-file`: the init process's pid in decimal and nothing else, since engines parse the whole file as one number.

use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use crate::sys::fs::{self, Access};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A pid file that will be written when the container is there.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Checks, before anything is made, that the file's directory exists. A relative path starts at the caller's
    /// working directory.
    pub fn plan(path: &Path) -> Result<Self> {
        let failed = || format!("--pid-file {}", path.display());
        let absolute = std::path::absolute(path).map_err(|error| Error::io("getcwd", &error)).with_context(failed)?;
        let parent = absolute.parent().ok_or_else(|| Error::sys("open", Errno::EISDIR)).with_context(failed)?;
        fs::open(parent, Access::Dir).with_context(failed)?;
        Ok(Self { path: absolute })
    }

    /// Writes the file under a temporary name and renames it, so that a reader never sees half of it.
    pub fn write(&self, pid: i32) -> Result<()> {
        self.write_and_rename(pid).with_context(|| format!("--pid-file {}", self.path.display()))
    }

    fn write_and_rename(&self, pid: i32) -> Result<()> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(Error::sys("open", Errno::EISDIR));
        };
        let directory = fs::open(parent, Access::Dir)?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        let create = || fs::create_at(&directory, &temporary, 0o666);
        let file = match create() {
            // Of a command that was killed at this point.
            Err(error) if error.is(Errno::EEXIST) => {
                fs::unlink_at(&directory, &temporary)?;
                create()?
            }
            made => made?,
        };
        let written =
            fs::write(file, pid.to_string().as_bytes()).and_then(|()| fs::rename_at(&directory, &temporary, name));
        if written.is_err() {
            // Nothing may be left behind; the first failure is the one to tell.
            let _ = fs::unlink_at(&directory, &temporary);
        }
        written
    }
}
