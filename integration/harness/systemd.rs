//! A systemd to be asked over D-Bus: a small server that makes scopes as cgroups, counts the messages, and fails where a
//! test wants it to. What it reads is decoded by zbus, what it says is put together here by hand.

use super::{Bundle, Invocation, is_rootless, test_cgroup};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use zbus::wire::LE;
use zbus::wire::serialized::{Context, Data};
use zbus::{OwnedVariant, Variant};

/// How the server takes a request for a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Makes it.
    Willing,
    /// Tells of the job's end before it answers.
    Hasty,
    /// Has a failed unit of that name until it is reset.
    Remembering,
    /// Has a unit of that name that runs.
    Occupied,
    /// Refuses.
    Refusing,
    /// Answers, but the job fails.
    Failing,
    /// Says that it is done, and has done nothing.
    Lying,
    /// Says nothing more.
    Silent,
    /// Makes it, and changes nothing of it.
    Rigid,
    /// Hangs up.
    Leaving,
    /// Does not let anybody in.
    Closed,
    /// Does not even answer the greeting.
    Mute,
}

/// The server. Its units are cgroups below the tests' own.
pub struct Systemd {
    socket: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    methods: Vec<String>,
    properties: Vec<String>,
    failed: bool,
}

impl Systemd {
    /// Serves at a socket in the bundle's directory for logs.
    #[allow(clippy::disallowed_methods, reason = "not the runtime")]
    pub fn serve(bundle: &Bundle, mood: Mood) -> Self {
        let socket = bundle.logs().join("bus");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("bind");
        let seen = Arc::new(Mutex::new(Seen { failed: mood == Mood::Remembering, ..Seen::default() }));
        let server = Arc::clone(&seen);
        std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let seen = Arc::clone(&server);
                std::thread::spawn(move || Peer { stream: peer, mood, seen, serial: 0, jobs: 0 }.serve());
            }
        });
        Self { socket, seen }
    }

    /// The same command, which finds this systemd at its bus.
    pub fn with(&self, command: Invocation) -> Invocation {
        command.env(bus_variable(), format!("unix:path={}", self.socket.display()))
    }

    /// The methods called since the last time.
    pub fn methods(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("lock").methods)
    }

    /// The properties of the last unit asked for, as `NAME=VALUE`.
    pub fn properties(&self) -> Vec<String> {
        self.seen.lock().expect("lock").properties.clone()
    }
}

/// The variable that says where our bus is: the user's own without privileges.
pub fn bus_variable() -> &'static str {
    if is_rootless() { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" }
}

/// Where the unit's cgroup is.
pub fn unit_directory(unit: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup{}/{unit}", test_cgroup()))
}

/// A header as it comes: endianness, kind, flags, version, length of the body, serial, fields.
type Header = (u8, u8, u8, u8, u32, u32, Vec<(u8, OwnedVariant)>);

/// What StartTransientUnit is called with.
type UnitCall = (String, String, Vec<(String, OwnedVariant)>, Vec<(String, Vec<(String, OwnedVariant)>)>);

/// What SetUnitProperties is called with.
type Changes = (String, bool, Vec<(String, OwnedVariant)>);

struct Peer {
    stream: UnixStream,
    mood: Mood,
    seen: Arc<Mutex<Seen>>,
    serial: u32,
    jobs: u32,
}

impl Peer {
    fn serve(mut self) {
        if self.mood == Mood::Mute {
            std::thread::sleep(std::time::Duration::from_secs(60));
            return;
        }
        // It hangs up whenever it likes.
        let mut result = self.greet();
        while result.is_ok() {
            result = self.next();
        }
    }

    fn next(&mut self) -> std::io::Result<()> {
        let (serial, method, body) = self.receive()?;
        self.seen.lock().expect("lock").methods.push(method.clone());
        self.answer(serial, &method, &body)
    }

    fn greet(&mut self) -> std::io::Result<()> {
        let mut said = Vec::new();
        while !said.ends_with(b"BEGIN\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            said.extend(byte);
        }
        assert_eq!(said, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        match self.mood {
            Mood::Closed => self.stream.write_all(b"REJECTED EXTERNAL\r\n"),
            _ => self.stream.write_all(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n"),
        }
    }

    fn receive(&mut self) -> std::io::Result<(u32, String, Vec<u8>)> {
        let mut bytes = vec![0; 16];
        self.stream.read_exact(&mut bytes)?;
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let (body, fields) = (number(4), number(12));
        let header = (16 + fields).next_multiple_of(8);
        bytes.resize(header + body, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        let body = bytes.split_off(header);
        let data = Data::new(bytes, Context::new(LE, 0));
        let (header, _): (Header, usize) = data.deserialize().expect("a header");
        let member = header.6.iter().find(|(code, _)| *code == 3).expect("a member");
        let member = String::try_from(&Variant::try_from(&member.1).expect("a value")).expect("text");
        Ok((header.5, member, body))
    }

    fn answer(&mut self, serial: u32, method: &str, body: &[u8]) -> std::io::Result<()> {
        let data = Data::new(body, Context::new(LE, 0));
        match method {
            "Hello" => self.reply(serial, "s", &text(":1.7")),
            "AddMatch" => self.reply(serial, "", &[]),
            "Get" => self.reply(serial, "v", &[&[1, b's', 0, 0][..], &text("257.13-1")].concat()),
            "StartTransientUnit" => {
                let ((unit, mode, properties, _), _): (UnitCall, usize) = data.deserialize().expect("a unit");
                assert_eq!(mode, "replace");
                self.start(serial, &unit, &properties)
            }
            "SetUnitProperties" => {
                let ((_, runtime, properties), _): (Changes, usize) = data.deserialize().expect("properties");
                assert!(runtime, "nothing is written to /etc");
                self.seen.lock().expect("lock").properties = shown(&properties);
                match self.mood {
                    Mood::Rigid => self.refuse(serial, "org.freedesktop.DBus.Error.AccessDenied", "not you"),
                    _ => self.reply(serial, "", &[]),
                }
            }
            "StopUnit" => {
                let ((unit, _), _): ((String, String), usize) = data.deserialize().expect("a unit");
                self.stop(serial, &unit)
            }
            "ResetFailedUnit" => {
                if std::mem::take(&mut self.seen.lock().expect("lock").failed) {
                    return self.reply(serial, "", &[]);
                }
                self.refuse(serial, "org.freedesktop.systemd1.NoSuchUnit", "not loaded")
            }
            other => panic!("nobody asks systemd for {other}"),
        }
    }

    fn start(&mut self, serial: u32, unit: &str, properties: &[(String, OwnedVariant)]) -> std::io::Result<()> {
        self.seen.lock().expect("lock").properties = shown(properties);
        let exists = "org.freedesktop.systemd1.UnitExists";
        let pid = || {
            let pids = properties.iter().find(|(name, _)| name == "PIDs").expect("PIDs");
            Vec::<u32>::try_from(Variant::try_from(&pids.1).expect("a value")).expect("au")[0]
        };
        let failed = self.seen.lock().expect("lock").failed;
        match self.mood {
            Mood::Remembering if failed => return self.refuse(serial, exists, "was already loaded"),
            Mood::Occupied => return self.refuse(serial, exists, "was already loaded"),
            Mood::Refusing => return self.refuse(serial, "org.freedesktop.DBus.Error.AccessDenied", "not you"),
            Mood::Silent => return Ok(()),
            Mood::Leaving => return Err(std::io::ErrorKind::BrokenPipe.into()),
            Mood::Lying | Mood::Failing => {}
            _ => {
                fs::create_dir(unit_directory(unit)).expect("cgroup");
                fs::write(unit_directory(unit).join("cgroup.procs"), pid().to_string()).expect("move");
            }
        }
        let result = if self.mood == Mood::Failing { "failed" } else { "done" };
        self.job(serial, unit, result)
    }

    /// As systemd, it forgets a scope as soon as it is empty.
    fn stop(&mut self, serial: u32, unit: &str) -> std::io::Result<()> {
        let directory = unit_directory(unit);
        let events = fs::read_to_string(directory.join("cgroup.events")).unwrap_or_default();
        if !events.contains("populated 1") {
            let _ = fs::remove_dir(directory);
            return self.refuse(serial, "org.freedesktop.systemd1.NoSuchUnit", "not loaded");
        }
        fs::write(directory.join("cgroup.kill"), "1").expect("kill");
        while fs::remove_dir(&directory).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.job(serial, unit, "done")
    }

    fn job(&mut self, serial: u32, unit: &str, result: &str) -> std::io::Result<()> {
        self.jobs += 1;
        let path = format!("/org/freedesktop/systemd1/job/{}", self.jobs);
        let mut removed = self.jobs.to_le_bytes().to_vec();
        for word in [&path, unit, result] {
            pad(&mut removed, 4);
            removed.extend(text(word));
        }
        if self.mood != Mood::Hasty {
            self.reply(serial, "o", &text(&path))?;
        }
        self.signal("UnitNew", "so", &[])?;
        self.signal("JobRemoved", "uoss", &removed)?;
        match self.mood {
            Mood::Hasty => self.reply(serial, "o", &text(&path)),
            _ => Ok(()),
        }
    }

    fn reply(&mut self, to: u32, signature: &str, body: &[u8]) -> std::io::Result<()> {
        let to = [&[5, 1, b'u', 0][..], &to.to_le_bytes()].concat();
        self.send(2, &[to], signature, body)
    }

    fn refuse(&mut self, to: u32, name: &str, why: &str) -> std::io::Result<()> {
        let to = [&[5, 1, b'u', 0][..], &to.to_le_bytes()].concat();
        self.send(3, &[field(4, b's', name), to], "s", &text(why))
    }

    fn signal(&mut self, name: &str, signature: &str, body: &[u8]) -> std::io::Result<()> {
        let fields = [
            field(1, b'o', "/org/freedesktop/systemd1"),
            field(2, b's', "org.freedesktop.systemd1.Manager"),
            field(3, b's', name),
        ];
        self.send(4, &fields, signature, body)
    }

    fn send(&mut self, kind: u8, fields: &[Vec<u8>], signature: &str, body: &[u8]) -> std::io::Result<()> {
        self.serial += 1;
        let mut list = Vec::new();
        for field in fields {
            pad(&mut list, 8);
            list.extend(field);
        }
        pad(&mut list, 8);
        let length = u8::try_from(signature.len()).expect("short");
        list.extend([&[8, 1, b'g', 0, length][..], signature.as_bytes(), &[0]].concat());
        let mut message = vec![b'l', kind, 0, 1];
        for number in [body.len(), self.serial as usize, list.len()] {
            message.extend(u32::try_from(number).expect("short").to_le_bytes());
        }
        message.extend(list);
        pad(&mut message, 8);
        message.extend(body);
        self.stream.write_all(&message)
    }
}

fn shown(properties: &[(String, OwnedVariant)]) -> Vec<String> {
    let shown =
        |(name, value): &(String, OwnedVariant)| format!("{name}={}", Variant::try_from(value).expect("a value"));
    properties.iter().map(shown).collect()
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("short").to_le_bytes();
    [&length[..], text.as_bytes(), &[0]].concat()
}

fn field(code: u8, kind: u8, value: &str) -> Vec<u8> {
    [&[code, 1, kind, 0][..], &text(value)].concat()
}
