//! `events`: what a container uses, again and again, and when the kernel kills in it for lack of memory.

use super::{Global, needed_cgroup, observe, print, wrong_state};
use crate::cgroup::{Existing, Happening, Stats};
use crate::container::status::Status;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Errno, stdio};
use serde::Serialize;
use std::time::{Duration, Instant};

/// A line on stdout.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

/// Prints the statistics of `id` each `interval`, for the first time after one, and a notice whenever the kernel has
/// killed in it for lack of memory, until the last process has ended. With `once` the statistics, and that is all.
pub(super) fn events(global: &Global, id: &str, interval: Duration, once: bool) -> Result<u8> {
    let entry = global.find(id)?;
    if interval.is_zero() {
        return Err(Error::new(ErrorKind::InvalidArgument, "duration interval must be greater than 0"));
    }
    let container = observe(&entry, entry.load()?)?;
    let not_running = || wrong_state(format!("container with id {id} is not running"));
    if container.status() == Status::Stopped {
        return Err(not_running());
    }
    let cgroup = needed_cgroup(&container.into_parts().0, "events")?.ok_or_else(not_running)?;
    if once {
        let stats = cgroup.stats()?.ok_or_else(not_running)?;
        say("stats", id, Some(stats))?;
        return Ok(0);
    }
    match follow(global, id, &cgroup, interval) {
        // Whoever was interested has gone, which is how one ends this.
        Err(error) if error.is(Errno::EPIPE) => Ok(0),
        result => result.map(|()| 0),
    }
}

fn follow(global: &Global, id: &str, cgroup: &Existing, interval: Duration) -> Result<()> {
    let mut watch = cgroup.watch();
    let mut time = Instant::now() + interval;
    loop {
        match watch.next(time, stdio::stdout())? {
            Happening::OutOfMemory => say("oom", id, None)?,
            Happening::Ended | Happening::Unheard => return Ok(()),
            Happening::Time => {
                match cgroup.stats() {
                    Ok(Some(stats)) => say("stats", id, Some(stats))?,
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        global.log.warning(&error.to_string());
                        global.log.settle();
                    }
                }
                // What was missed, because nobody read for a while, is not made up for.
                time = (time + interval).max(Instant::now());
            }
        }
    }
}

fn say(kind: &'static str, id: &str, data: Option<Stats>) -> Result<()> {
    let mut line = serde_json::to_string(&Event { r#type: kind, id, data })
        .map_err(|error| Error::new(ErrorKind::System, format!("event: {error}")))?;
    line.push('\n');
    print(&line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = |data| serde_json::to_string(&Event { r#type: "oom", id: "web", data }).unwrap();
        assert_eq!(line(None), r#"{"type":"oom","id":"web"}"#);
        assert!(line(Some(Stats::default())).starts_with(r#"{"type":"oom","id":"web","data":{"cpu":{"#));
    }
}
