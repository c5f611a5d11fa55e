//! Things the container tries to do; each answers `"ok"` or the name of the errno it met.

use crate::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, makedev};
use nix::sys::wait::WaitStatus;
use nix::unistd::{AccessFlags, access};
use serde_json::{Map, Value, json};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

fn outcome<T>(result: io::Result<T>) -> Value {
    match result {
        Ok(_) => json!("ok"),
        Err(error) => json!(format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0)))),
    }
}

/// Opens for writing, without creating or truncating; a directory is tried by creating a file in it.
pub fn open_write(path: &str) -> Value {
    if fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return outcome(OpenOptions::new().write(true).create_new(true).open(format!("{path}/.probe")));
    }
    outcome(OpenOptions::new().write(true).open(path))
}

/// Opens for reading and reads a little.
pub fn open_read(path: &str) -> Value {
    outcome(OpenOptions::new().read(true).open(path).and_then(|mut file| file.read(&mut [0; 1])))
}

/// Makes the device node that the arguments name: type (`c` or `b`), major, minor, path.
fn mknod(args: &[&str]) -> Value {
    let [kind, major, minor, path] = args else { return json!("usage") };
    let flag = if *kind == "b" { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let device = makedev(major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
    outcome(nix::sys::stat::mknod(*path, flag, Mode::from_bits_truncate(0o600), device).map_err(io::Error::from))
}

/// Makes nodes of well-known devices in `/dev` and tries to read them: what the device program allows.
pub fn devices() -> Value {
    let wanted = [
        ("c", 1, 1),
        ("c", 1, 3),
        ("c", 1, 5),
        ("c", 1, 7),
        ("c", 1, 8),
        ("c", 1, 9),
        ("c", 1, 11),
        ("c", 5, 0),
        ("c", 5, 1),
        ("c", 5, 2),
        ("c", 10, 200),
        ("c", 10, 229),
        ("c", 4, 64),
        ("b", 7, 0),
        ("b", 254, 0),
    ];
    let mut seen = Map::new();
    for (kind, major, minor) in wanted {
        let path = format!("/dev/probe-{kind}-{major}-{minor}");
        let made = mknod(&[kind, &major.to_string(), &minor.to_string(), &path]);
        // Non-blocking: a console or a serial line must not hang the probe.
        let opened = sys::open_nonblocking(&path).map_err(io::Error::from);
        seen.insert(format!("{kind} {major}:{minor}"), json!({ "mknod": made, "open": outcome(opened) }));
    }
    seen.into()
}

/// Makes the node `KIND:MAJOR:MINOR` and tells the ways in which it may be used: `m` (made), `r`, `w` and `rw` (both at
/// once). Only asks (access(2)), so that there need be no such device.
pub fn device_access(device: &str) -> Value {
    let path = format!("/dev/asked-{device}");
    let words: Vec<&str> = device.split(':').chain([path.as_str()]).collect();
    let made = mknod(&words) == "ok";
    let ways = [("r", AccessFlags::R_OK), ("w", AccessFlags::W_OK), ("rw", AccessFlags::R_OK | AccessFlags::W_OK)];
    let open = ways.into_iter().filter(|(_, way)| access(path.as_str(), *way).is_ok()).map(|(name, _)| name);
    json!(made.then_some("m").into_iter().chain(open).collect::<Vec<_>>().join(" "))
}

/// Asks for reading two devices again and again until the file STOP is there; counts the wrong answers.
pub fn watch_devices(args: &[&str]) -> Value {
    let [allowed, denied, stop] = args else { return json!("usage") };
    let (mut rounds, mut refused, mut passed) = (0_u64, 0_u64, 0_u64);
    while fs::metadata(stop).is_err() {
        rounds += 1;
        refused += u64::from(access(*allowed, AccessFlags::R_OK).is_err());
        passed += u64::from(access(*denied, AccessFlags::R_OK).is_ok());
    }
    json!({ "rounds": rounds, "refused": refused, "passed": passed })
}

/// Opens every `/proc/PID/exe` it can read, holds on to it, and tries to write to it while and after it runs: the
/// attack of CVE-2019-5736. Names what it held and what it could open for writing.
pub fn hunt_executables(time: Duration) -> Value {
    let end = Instant::now() + time;
    let own = fs::read_link("/proc/self/exe").ok();
    let mut tries = 0_u64;
    let mut held: Vec<(fs::File, String)> = Vec::new();
    while Instant::now() < end {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let exe = entry.path().join("exe");
            if entry.file_name().to_string_lossy().parse::<u32>().is_err() || fs::read_link(&exe).ok() == own {
                continue;
            }
            tries += 1;
            let Ok(file) = fs::File::open(&exe) else { continue };
            let link = fs::read_link(&exe).unwrap_or_default().to_string_lossy().into_owned();
            if held.len() < 500 {
                held.push((file, link));
            }
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    let written = held.iter().filter(|(file, _)| {
        let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        OpenOptions::new().write(true).open(by_descriptor).is_ok()
    });
    let written: Vec<&String> = written.map(|(_, link)| link).collect();
    json!({ "tries": tries, "held": held.iter().map(|(_, link)| link).collect::<Vec<_>>(), "writable": written })
}

/// Looks into every other process it meets, by procfs and by tracing it: the attack of CVE-2016-9962. Names what it got.
pub fn spy(time: Duration) -> Value {
    let end = Instant::now() + time;
    let mut met = std::collections::BTreeSet::new();
    let mut opened = std::collections::BTreeSet::new();
    while Instant::now() < end {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            if pid == std::process::id() {
                continue;
            }
            met.insert(pid);
            let at = |name: &str| entry.path().join(name);
            // Of a process that is about to end there is nothing to read.
            let told =
                |name: &str| fs::File::open(at(name)).and_then(|mut file| file.read(&mut [0])).is_ok_and(|n| n > 0);
            let files = ["environ", "maps", "auxv"].into_iter().filter(|name| told(name));
            let links = ["exe", "cwd", "root", "ns/mnt", "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8"];
            let links = links.into_iter().filter(|name| fs::read_link(at(name)).is_ok());
            opened.extend(files.chain(links).map(str::to_owned));
            if sys::trace(pid) {
                opened.insert("traced".to_owned());
            }
        }
    }
    json!({ "met": met.len(), "opened": opened })
}

/// Makes each system call `WAY:NUMBER:ARGUMENT,...`: by the 64-bit entry (`call`) or the 32-bit one (`int80`), with what
/// the test says.
pub fn raw_calls(wanted: &[&str]) -> Value {
    wanted.iter().map(|call| ((*call).to_owned(), json!(sys::raw_call(call)))).collect::<Map<_, _>>().into()
}

/// Calls each named system call with arguments that do no harm.
pub fn syscalls(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), json!(sys::harmless_call(name)))).collect::<Map<_, _>>().into()
}

/// Pushes a character into the terminal on stdin (CVE-2016-10124, CVE-2017-5226), and says whose session it is.
pub fn tty_inject() -> Value {
    json!({ "tiocsti": sys::push_character(), "is_tty": nix::unistd::isatty(io::stdin()).unwrap_or(false) })
}

/// Starts COUNT children that sleep SECONDS each and outlive this process's care; says how many started.
pub fn fork_many(args: &[&str]) -> Value {
    let count: u32 = args.first().and_then(|text| text.parse().ok()).unwrap_or(1);
    let seconds = args.get(1).copied().unwrap_or("1");
    let spawn = || std::process::Command::new("/proc/self/exe").args(["sleep", seconds]).spawn();
    json!({ "started": (0..count).map(|_| spawn()).filter(Result::is_ok).count() })
}

/// Runs a command, and says each time the mount table of our namespace changed meanwhile, with the lines that came or
/// went. A change that is undone at once shows as one without lines.
pub fn watch_mounts(command: &[&str]) -> Value {
    let read = || fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let (Some((program, args)), Ok(table)) = (command.split_first(), fs::File::open("/proc/self/mountinfo")) else {
        return json!("usage");
    };
    let mut before = read();
    let spawned = std::process::Command::new(program).args(args).stdout(std::process::Stdio::null()).spawn();
    let Ok(mut child) = spawned else { return json!("the command does not start") };
    let mut changes = Vec::new();
    let status = loop {
        let ended = child.try_wait().ok().flatten();
        let timeout = if ended.is_some() { PollTimeout::ZERO } else { PollTimeout::from(10_u8) };
        let mut polled = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        if poll(&mut polled, timeout).is_ok_and(|count| count > 0) {
            let now = read();
            let differs = |these: &str, those: &str| -> Vec<String> {
                these.lines().filter(|line| !those.lines().any(|other| other == *line)).map(str::to_owned).collect()
            };
            changes.push(json!({ "new": differs(&now, &before), "gone": differs(&before, &now) }));
            before = now;
        } else if let Some(status) = ended {
            break status;
        }
    };
    json!({ "changes": changes, "status": status.code() })
}

/// Runs COMMAND as an engine's shim does, which takes on what the command leaves behind: says how it ended, and how the
/// process did that PIDFILE then names, if it has become a child of ours.
pub fn adopt(args: &[&str]) -> Value {
    let [file, program, rest @ ..] = args else { return json!("usage") };
    if nix::sys::prctl::set_child_subreaper(true).is_err() {
        return json!("no subreaper");
    }
    let ended = std::process::Command::new(program).args(rest).stdout(std::process::Stdio::null()).status();
    let Ok(ended) = ended else { return json!("the command does not start") };
    let pid = fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).map(nix::unistd::Pid::from_raw);
    let left = pid.map(|pid| match nix::sys::wait::waitpid(pid, None) {
        Ok(WaitStatus::Exited(_, code)) => json!(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => json!(format!("{signal}")),
        other => json!(format!("{other:?}")),
    });
    json!({ "command": ended.code(), "left": left })
}

/// Sends each message to `$NOTIFY_SOCKET`: `files` is ten messages that bring ten descriptors each, `long` is one of
/// 100 000 bytes, `flood` goes on until nobody takes them any more, and `MESSAGE*COUNT` is one repeated.
pub fn notify(messages: &[&str]) -> Value {
    let address = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    let send = || -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&address)?;
        for message in messages {
            match (*message, message.split_once('*')) {
                ("long", _) => drop(socket.send(&[b'x'; 100_000])?),
                ("files", _) => (0..10).try_for_each(|_| sys::send_files(&socket, 10))?,
                ("flood", _) => while socket.send(b"STATUS=flood").is_ok() {},
                (_, Some((text, count))) => {
                    (0..count.parse().unwrap_or(0)).try_for_each(|_| socket.send(text.as_bytes()).map(drop))?;
                }
                (text, None) => drop(socket.send(text.as_bytes())?),
            }
        }
        Ok(())
    };
    outcome(send())
}
