//! Copies between our standard descriptors and the terminal or the pipes of a program in the foreground, without a
//! thread: [`Relay::wants`] names what to poll, and [`Relay::pump`] moves one piece each way, so that no flood in one
//! direction stops the other, or signals.

use super::console::OwnTerminal;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fs::{self, Access};
use crate::sys::poll::{Interest, poll};
use crate::sys::this_process::Stdio;
use crate::sys::tty::{self, SavedMode};
use crate::sys::{Errno, stdio};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most bytes that are moved at once. A pipe that poll(2) calls writable takes as many without waiting (pipe(7)).
const PIECE: usize = 4096;

/// Most bytes that are copied from each after the end of the program: more than a terminal holds, or a pipe that its user
/// may have made larger, but somebody else may have it open and go on writing.
const LAST_WORDS: usize = 1 << 20;

/// What is served while the program runs. Dropped, it closes all that the program could write to.
#[derive(Debug, Default)]
pub struct Relay {
    input: Option<Flow>,
    outputs: Vec<Flow>,
    front: Option<Front>,
    lost: Option<Error>,
}

/// One direction. It is over when its source has ended and nothing is held any more.
#[derive(Debug)]
struct Flow {
    from: OwnedFd,
    to: OwnedFd,
    /// Read, but not written yet.
    held: Vec<u8>,
    /// The last byte that was read.
    last: Option<u8>,
    ended: bool,
    /// Whether the source is a master, which answers EIO as long as no slave is open.
    from_master: bool,
}

/// The user's terminal in front of the container's: raw as long as this lives, and the user's shell lets us have it.
#[derive(Debug)]
struct Front {
    master: OwnedFd,
    terminal: OwnedFd,
    /// Its modes from before.
    saved: Option<SavedMode>,
    raw: bool,
    /// Whether the user types there, or our stdin is something else.
    typed: bool,
}

impl Relay {
    /// Relays the terminal behind `master` to our own.
    pub fn terminal(master: OwnedFd, outer: OwnTerminal) -> Result<Self> {
        fs::set_nonblocking(&master)?;
        let typed = tty::is_terminal(stdio::stdin());
        // Nobody ever says anything there, which is not the same as that everything has been said.
        let silent = fs::stat(stdio::stdin())?.is_char(1, 3);
        let input = match silent {
            true => None,
            false => Some(Flow::new(own(stdio::stdin(), Access::ReadUnsure)?, fs::duplicate(master.as_fd())?)),
        };
        let mut output = Flow::new(fs::duplicate(master.as_fd())?, own(stdio::stdout(), Access::WriteNoWait)?);
        output.from_master = true;
        let mut front = Front { master, terminal: outer.into_fd(), saved: None, raw: false, typed };
        front.claim()?;
        let relay = Self { input, outputs: vec![output], front: Some(front), lost: None };
        // It may have changed since we looked first.
        let _ = relay.resize();
        Ok(relay)
    }

    /// Serves a pipe that the program has in place of one of our standard descriptors.
    pub fn add(&mut self, which: Stdio, end: OwnedFd) -> Result<()> {
        fs::set_nonblocking(&end)?;
        match which {
            Stdio::Stdin => self.input = Some(Flow::new(own(stdio::stdin(), Access::ReadUnsure)?, end)),
            Stdio::Stdout => self.outputs.push(Flow::new(end, own(stdio::stdout(), Access::WriteNoWait)?)),
            Stdio::Stderr => self.outputs.push(Flow::new(end, own(stdio::stderr(), Access::WriteNoWait)?)),
        }
        Ok(())
    }

    /// Whether there is a terminal.
    pub fn has_terminal(&self) -> bool {
        self.front.is_some()
    }

    /// Gives the container's terminal the size of ours, unless ours has none.
    pub fn resize(&self) -> Result<()> {
        let Some(front) = &self.front else { return Ok(()) };
        let size = tty::window_size(&front.terminal)?;
        if size.rows == 0 || size.columns == 0 { Ok(()) } else { tty::set_window_size(&front.master, size) }
    }

    /// After we were stopped: the user's shell may have changed the modes of the terminal, and the user its size.
    pub fn resume(&mut self) -> Result<()> {
        if let Some(front) = &mut self.front {
            front.claim()?;
        }
        self.resize()
    }

    /// The descriptors to poll, and what for.
    pub fn wants(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        self.input.iter().chain(&self.outputs).map(Flow::wants).collect()
    }

    /// Moves what can be moved without waiting: `ready` are the answers to [`Relay::wants`].
    pub fn pump(&mut self, ready: &[bool]) {
        let (input, outputs) = ready.split_at(usize::from(self.input.is_some()).min(ready.len()));
        if input.contains(&true) {
            self.pump_input();
        }
        let mut lost = None;
        let mut ready = outputs.iter();
        self.outputs.retain_mut(|flow| match ready.next() {
            Some(true) => flow.step().unwrap_or_else(|error| {
                lost = Some(error);
                false
            }),
            _ => true,
        });
        if let Some(error) = lost {
            self.lose(error.context(COPYING));
        }
    }

    /// After the end of the program: copies what it wrote last. Gives the reason if output is missing.
    pub fn finish(mut self) -> Option<Error> {
        for mut flow in std::mem::take(&mut self.outputs) {
            if let Err(error) = flow.drain() {
                self.lose(error.context(COPYING));
            }
        }
        self.lost.take()
    }

    fn pump_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        if let Some(front) = self.front.as_mut().filter(|front| front.typed && !front.raw) {
            // Perhaps we were brought to the foreground without being stopped. If not, the kernel stops us at the read.
            let _ = front.claim();
        }
        let stepped = input.step();
        let typed = self.front.as_ref().is_some_and(|front| front.typed);
        if typed && !matches!(stepped, Ok(true)) && !tty::is_terminal(stdio::stdin()) {
            return self.lose(Error::new(ErrorKind::System, "the terminal is gone"));
        }
        match (stepped, &self.front) {
            (Ok(true), _) => {}
            // What reads a terminal learns of the end by a character, as with script(1).
            (Ok(false), Some(front)) if !input.ended => {
                input.held = end_of_input(front, input.last);
                // The user can type on, in a terminal that somebody else has made line by line again.
                input.ended = !typed;
            }
            // Nobody is there to read it any more, or we may not read it.
            _ => self.input = None,
        }
    }

    /// Hangs up the container's terminal. Without one only the stream at fault is closed, which is what the program would
    /// have met in our place, and a reader who has gone away is no loss.
    fn lose(&mut self, error: Error) {
        let gone = error.is(Errno::EPIPE);
        if self.front.take().is_some() {
            self.input = None;
            self.outputs.clear();
        } else if gone {
            return;
        }
        self.lost.get_or_insert(error);
    }
}

/// What was being done when output was lost.
const COPYING: &str = "copy the container's output";

/// The characters that end the input of the terminal: one ends a line that was begun.
fn end_of_input(front: &Front, last: Option<u8>) -> Vec<u8> {
    let begun = last.is_some_and(|byte| byte != b'\n');
    let character = tty::end_of_file(&front.master).ok().flatten();
    character.map_or_else(Vec::new, |character| vec![character; if begun { 2 } else { 1 }])
}

/// A descriptor of our own for a standard one. A terminal is opened anew, so as never to wait for it: it may be stopped, or
/// somebody else may have taken what was typed, and signals must go on. What the caller shares with us is left alone.
fn own(standard: BorrowedFd<'static>, access: Access) -> Result<OwnedFd> {
    if tty::is_terminal(standard)
        && let Ok(anew) = fs::reopen(standard, access)
    {
        return Ok(anew);
    }
    fs::duplicate(standard)
}

impl Flow {
    fn new(from: OwnedFd, to: OwnedFd) -> Self {
        Self { from, to, held: Vec::new(), last: None, ended: false, from_master: false }
    }

    fn wants(&self) -> (BorrowedFd<'_>, Interest) {
        if self.held.is_empty() { (self.from.as_fd(), Interest::Read) } else { (self.to.as_fd(), Interest::Write) }
    }

    /// Reads or writes a piece. False: it is over.
    fn step(&mut self) -> Result<bool> {
        if self.held.is_empty() {
            return Ok(self.fill()? != Filled::Ended);
        }
        match fs::write_some(&self.to, &self.held) {
            Ok(count) => drop(self.held.drain(..count)),
            Err(error) if error.is(Errno::EAGAIN) => {}
            Err(error) => return Err(error),
        }
        Ok(!(self.ended && self.held.is_empty()))
    }

    fn fill(&mut self) -> Result<Filled> {
        let mut buffer = [0; PIECE];
        match fs::read(&self.from, &mut buffer) {
            Ok(0) => Ok(Filled::Ended),
            Ok(count) => {
                self.held.extend_from_slice(&buffer[..count]);
                self.last = buffer[..count].last().copied();
                Ok(Filled::Some)
            }
            Err(error) if error.is(Errno::EAGAIN) => Ok(Filled::Nothing),
            Err(error) if self.from_master && error.is(Errno::EIO) => Ok(Filled::Ended),
            Err(error) => Err(error),
        }
    }

    /// Copies all that is there, waiting for whoever takes it.
    fn drain(&mut self) -> Result<()> {
        let mut left = LAST_WORDS;
        loop {
            while !self.held.is_empty() {
                poll(&[(self.to.as_fd(), Interest::Write)], None)?;
                self.step()?;
            }
            if left == 0 || self.fill()? != Filled::Some {
                return Ok(());
            }
            left = left.saturating_sub(self.held.len());
        }
    }
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Some,
    /// Nothing now.
    Nothing,
    /// Nothing ever.
    Ended,
}

impl Front {
    /// Makes the terminal raw, unless we are in its background: then it is the shell's, or another program's.
    fn claim(&mut self) -> Result<()> {
        self.raw = tty::in_foreground(&self.terminal);
        if self.raw {
            let before = tty::set_raw(&self.terminal)?;
            self.saved.get_or_insert(before);
        }
        Ok(())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(saved) = self.saved.as_ref().filter(|_| tty::in_foreground(&self.terminal)) {
            // The terminal may be gone, and then there is nothing to restore.
            let _ = tty::restore(&self.terminal, saved);
        }
    }
}
