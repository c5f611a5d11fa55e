//! Pseudo-terminals and terminal modes.

#![allow(unsafe_code)]

use super::clone::InChild;
use super::{Errno, check};
use crate::error::{Error, Result};
use nix::sys::termios::{self, OutputFlags, SetArg, SpecialCharacterIndices, Termios};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Number of lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Modes of a terminal, for [`restore`].
#[derive(Debug, Clone)]
pub struct SavedMode(Termios);

/// Allows the peer of a pseudo-terminal's master to be opened (`TIOCSPTLCK`).
pub fn unlock(master: impl AsFd) -> Result<()> {
    let locked: libc::c_int = 0;
    // SAFETY: the kernel reads an int from a live one.
    let result = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    check(result.into(), || "ioctl(TIOCSPTLCK)".to_owned()).map(drop)
}

/// The number of a pseudo-terminal, which is its name in devpts and the minor of its peer (`TIOCGPTN`).
pub fn number(master: impl AsFd) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel writes an unsigned int to a live one.
    let result = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(result.into(), || "ioctl(TIOCGPTN)".to_owned())?;
    Ok(number)
}

/// Opens the other end of a master without naming it (`TIOCGPTPEER`, 4.13): no path to be led astray by.
pub fn open_peer(master: impl AsFd) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags by value and touches no memory of ours.
    let result = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTPEER, flags) };
    check(result.into(), || "ioctl(TIOCGPTPEER)".to_owned())?;
    // SAFETY: a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Makes `terminal` the controlling one of the session that we lead (`TIOCSCTTY`).
///
/// # Errors
/// EPERM when we lead no session or have a terminal, or it is another session's.
pub fn set_controlling(_: &InChild, terminal: impl AsFd) -> Result<()> {
    // SAFETY: takes a number (0: do not steal) and touches no memory.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(result.into(), || "ioctl(TIOCSCTTY)".to_owned()).map(drop)
}

/// Whether `fd` is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    nix::unistd::isatty(fd).unwrap_or(false)
}

/// Size of the terminal `fd` (`TIOCGWINSZ`).
pub fn window_size(fd: impl AsFd) -> Result<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes a winsize to a live one.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    check(result.into(), || "ioctl(TIOCGWINSZ)".to_owned())?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of the terminal `fd` (`TIOCSWINSZ`); its foreground process group gets SIGWINCH if that is a change.
pub fn set_window_size(fd: impl AsFd, size: WindowSize) -> Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads a winsize from a live one.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    check(result.into(), || "ioctl(TIOCSWINSZ)".to_owned()).map(drop)
}

/// Switches the terminal `fd` to raw mode: keys reach the container one by one, signal keys included. Output is treated
/// as before: newlines come without carriage returns, see [`clear_onlcr`]. Gives the modes from before.
pub fn set_raw(fd: impl AsFd) -> Result<SavedMode> {
    let saved = modes(&fd)?;
    let mut raw = saved.clone();
    termios::cfmakeraw(&mut raw);
    raw.output_flags = saved.output_flags;
    set_modes(fd, &raw)?;
    Ok(SavedMode(saved))
}

/// Gives the terminal `fd` its old modes back.
pub fn restore(fd: impl AsFd, saved: &SavedMode) -> Result<()> {
    set_modes(fd, &saved.0)
}

/// Whether we are not in the background of the terminal `fd`: the kernel stops a process that reads or changes its
/// controlling terminal from there. One that is not ours to be controlled by has no background.
pub fn in_foreground(fd: impl AsFd) -> bool {
    nix::unistd::tcgetpgrp(fd).map_or(true, |group| group == nix::unistd::getpgrp())
}

/// The character that ends the input from `fd`, usually Ctrl-D; none if there is none (termios(3), VEOF).
pub fn end_of_file(fd: impl AsFd) -> Result<Option<u8>> {
    let character = modes(fd)?.control_chars[SpecialCharacterIndices::VEOF as usize];
    Ok(Some(character).filter(|character| *character != libc::_POSIX_VDISABLE))
}

/// Has the terminal `fd` pass on newlines as they are: the terminal that we relay to adds the carriage returns.
pub fn clear_onlcr(fd: impl AsFd) -> Result<()> {
    let mut modes = modes(&fd)?;
    modes.output_flags.remove(OutputFlags::ONLCR);
    set_modes(fd, &modes)
}

fn modes(fd: impl AsFd) -> Result<Termios> {
    termios::tcgetattr(fd).map_err(|errno| Error::sys("tcgetattr", errno))
}

fn set_modes(fd: impl AsFd, modes: &Termios) -> Result<()> {
    loop {
        match termios::tcsetattr(&fd, SetArg::TCSANOW, modes) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("tcsetattr", errno)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::fs::{self, Access};
    use nix::sys::termios::LocalFlags;

    #[test]
    fn a_pseudo_terminal_has_size_and_modes() {
        let Ok(master) = fs::open("/dev/ptmx", Access::ReadWrite) else {
            return;
        };
        unlock(&master).unwrap();
        let peer = open_peer(&master).unwrap();
        assert!(is_terminal(&peer));
        assert!(fs::stat(&peer).unwrap().is_char(136, number(&master).unwrap().into()));
        let size = WindowSize { rows: 25, columns: 80 };
        set_window_size(&master, size).unwrap();
        assert_eq!(window_size(&peer).unwrap(), size);
        assert_eq!(end_of_file(&master).unwrap(), Some(4));
        let saved = set_raw(&peer).unwrap();
        let raw = modes(&peer).unwrap();
        assert!(!raw.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        assert!(raw.output_flags.contains(OutputFlags::OPOST | OutputFlags::ONLCR), "the cursor would not return");
        restore(&peer, &saved).unwrap();
        assert!(modes(&peer).unwrap().output_flags.contains(OutputFlags::ONLCR));
        clear_onlcr(&master).unwrap();
        assert!(!modes(&peer).unwrap().output_flags.contains(OutputFlags::ONLCR));
    }
}
