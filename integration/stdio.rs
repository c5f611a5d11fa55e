//! The standard descriptors of programs without a terminal, whatever the caller gives as such.

use crate::harness::{Bundle, Invocation, Pty, is_peer, is_rootless, wait_until};
use serde_json::json;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// What a caller may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    File,
    Socket,
    Null,
    Terminal,
    Closed,
}

const KINDS: [Kind; 6] = [Kind::Pipe, Kind::File, Kind::Socket, Kind::Null, Kind::Terminal, Kind::Closed];

/// All commands that start a program; the first two stay until it ends.
const COMMANDS: [&str; 5] = ["run", "exec", "create", "run -d", "exec -d"];

/// The caller's ends of what it gave.
enum Ours {
    /// stdin has been filled; these are stdout and stderr.
    Streams(Box<dyn Read>, Box<dyn Read>),
    Terminal(Pty),
    Nothing,
}

impl Ours {
    /// All that comes.
    fn rest(self) -> String {
        let mut text = String::new();
        match self {
            Self::Streams(mut out, mut err) => {
                out.read_to_string(&mut text).unwrap();
                err.read_to_string(&mut text).unwrap();
            }
            Self::Terminal(mut pty) => text = pty.rest(),
            Self::Nothing => {}
        }
        text
    }
}

/// Gives `program` all three of the kind, with `input` on stdin, which ends after it.
fn give(program: Invocation, kind: Kind, input: &str, dir: &Path) -> (Invocation, Ours) {
    match kind {
        Kind::Pipe => {
            let ((stdin, mut feed), (out, stdout), (err, stderr)) =
                (std::io::pipe().unwrap(), std::io::pipe().unwrap(), std::io::pipe().unwrap());
            feed.write_all(input.as_bytes()).unwrap();
            let program = program.stdio(stdin.into(), stdout.into(), stderr.into());
            (program, Ours::Streams(Box::new(out), Box::new(err)))
        }
        Kind::Socket => {
            let [(mut feed, stdin), (out, stdout), (err, stderr)] = [0, 1, 2].map(|_| UnixStream::pair().unwrap());
            feed.write_all(input.as_bytes()).unwrap();
            let program = program.stdio(owned(stdin), owned(stdout), owned(stderr));
            (program, Ours::Streams(Box::new(out), Box::new(err)))
        }
        Kind::File => {
            fs::write(dir.join("in"), input).unwrap();
            let [out, err] =
                ["out", "err"].map(|name| File::options().append(true).create(true).open(dir.join(name)).unwrap());
            let program = program.stdio(File::open(dir.join("in")).unwrap().into(), out.into(), err.into());
            let [out, err] = ["out", "err"].map(|name| File::open(dir.join(name)).unwrap());
            (program, Ours::Streams(Box::new(out), Box::new(err)))
        }
        Kind::Null => {
            let null = || Stdio::from(File::options().read(true).write(true).open("/dev/null").unwrap());
            (program.stdio(null(), null(), null()), Ours::Nothing)
        }
        Kind::Terminal => {
            let mut pty = Pty::new(24, 80);
            pty.send(input);
            pty.send("\u{4}");
            let program = program.stdio(pty.stdio(), pty.stdio(), pty.stdio());
            pty.close_slave();
            (program, Ours::Terminal(pty))
        }
        Kind::Closed => (program.under(&["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "-"]), Ours::Nothing),
    }
}

fn owned(stream: UnixStream) -> Stdio {
    OwnedFd::from(stream).into()
}

/// Prepares `command` of `script` as the user 1000.
fn prepared(bundle: &mut Bundle, command: &str, script: &str) -> Invocation {
    if command.starts_with("exec") {
        bundle.asleep();
        let flags: &[&str] = if command == "exec -d" { &["-d", "-u", "1000:1000"] } else { &["-u", "1000:1000"] };
        return bundle.exec_with(flags, &["/bin/sh", "-c", script]);
    }
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).script(script);
    match command {
        "create" => bundle.start_with("create", &[]),
        "run -d" => bundle.start_with("run", &["-d"]),
        _ => bundle.start_with("run", &[]),
    }
}

/// Each kind with each command: what is written arrives at the other side, each way; the program can open its descriptors
/// by name wherever runc lets it; nobody else's file changes hands; and the program gets nothing of the caller's in the
/// foreground that it could do more with than read or write.
#[test]
fn every_kind_with_every_command() {
    for command in COMMANDS {
        for kind in KINDS {
            let case = format!("{command} with {kind:?}");
            let foreground = COMMANDS[..2].contains(&command);
            let mut bundle = Bundle::new();
            let script = "readlink /proc/self/fd/0; read line; echo \"got=$line.\"; echo complaint >&2; \
                          echo by name >> /proc/self/fd/1; rest=$(cat); echo \"end$rest.\"";
            let program = prepared(&mut bundle, command, script);
            let (program, ours) = give(program, kind, "hello\n", &bundle.logs());
            let done = program.spawn().wait();
            assert_eq!(done.status.code(), Some(0), "{case}: {done}");
            if command == "create" {
                bundle.verb("start", &[]).ok();
            }
            if !foreground && kind == Kind::File {
                // Files have no end that tells.
                wait_until(&case, || fs::read_to_string(bundle.logs().join("out")).unwrap().contains("end."));
            }
            let text = ours.rest();
            if [Kind::Null, Kind::Closed].contains(&kind) {
                assert_eq!((done.stdout, done.stderr), (String::new(), String::new()), "{case}");
                continue;
            }
            for part in ["got=hello.", "complaint", "end."] {
                assert!(text.contains(part), "{case}: {part}: {text}");
            }
            let can_reopen = foreground || [Kind::Pipe, Kind::File].contains(&kind);
            assert_eq!(text.contains("by name"), can_reopen, "{case}: {text}");
            let link = text.lines().find(|line| line.contains(':') || line.contains('/')).unwrap_or_default();
            assert!(link.starts_with("pipe:") || !foreground, "{case}: {text}");
            if kind == Kind::File {
                let [before, after] = ["in", "out"].map(|name| fs::metadata(bundle.logs().join(name)).unwrap().uid());
                assert_eq!(before == after, foreground, "{case}");
            }
        }
    }
}

/// However slow its reader: the last byte arrives as well, through a descriptor that does not wait for one too.
#[test]
fn no_byte_is_lost() {
    const SIZE: usize = 300_000;
    for command in ["run", "exec"] {
        for blocking in [true, false] {
            let mut bundle = Bundle::new();
            let script = format!("head -c {SIZE} /dev/zero; echo -n end; echo -n stderr >&2");
            let program = prepared(&mut bundle, command, &script);
            let (mut out, stdout) = UnixStream::pair().unwrap();
            stdout.set_nonblocking(!blocking).unwrap();
            let running = program.stdio(Stdio::null(), owned(stdout), Stdio::null()).spawn();
            let mut all = Vec::new();
            let mut piece = [0; 10_000];
            loop {
                std::thread::sleep(Duration::from_millis(5));
                match out.read(&mut piece).unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&piece[..count]),
                }
            }
            running.wait().ok();
            assert_eq!(all.len(), SIZE + 3, "{command}");
            assert!(all.ends_with(b"end"));
        }
    }
}

/// The same through a terminal.
#[test]
fn no_line_is_lost() {
    for command in ["run", "exec"] {
        let mut bundle = Bundle::new();
        let args = ["seq", "1", "20000"];
        let program = if command == "exec" {
            bundle.asleep();
            bundle.exec_with(&["-t"], &args)
        } else {
            bundle.set("/process/terminal", json!(true)).args(&["/bin/seq", "1", "20000"]);
            bundle.start_with("run", &[])
        };
        let (mut pty, running) = Pty::control(program);
        std::thread::sleep(Duration::from_millis(500));
        let shown = pty.rest();
        running.wait().ok();
        assert!(shown.lines().map(str::to_owned).eq((1..=20000).map(|number| number.to_string())), "{command}");
    }
}

/// Input that is more than a pipe holds, for one who reads it and one who does not.
#[test]
fn much_input() {
    const SIZE: usize = 120_000;
    let scripts = [("wc -c", "120000"), ("echo ignored", "ignored"), ("exec <&-; sleep 0.1; echo closed", "closed")];
    for command in ["run", "exec"] {
        for socket in [false, true] {
            for (script, expected) in scripts {
                let mut bundle = Bundle::new();
                let program = prepared(&mut bundle, command, script);
                let file = bundle.logs().join("much");
                fs::write(&file, vec![b'x'; SIZE]).unwrap();
                let (mut feed, stdin) = UnixStream::pair().unwrap();
                // A socket holds as much.
                feed.write_all(&vec![b'x'; SIZE]).unwrap();
                drop(feed);
                let stdin = if socket { owned(stdin) } else { File::open(file).unwrap().into() };
                let (mut out, stdout) = std::io::pipe().unwrap();
                let running = program.stdio(stdin, stdout.into(), Stdio::null()).spawn();
                let mut text = String::new();
                out.read_to_string(&mut text).unwrap();
                running.wait().ok();
                assert_eq!(text.trim(), expected, "{command}, socket {socket}: {script}");
            }
        }
    }
}

/// What stays behind in the container keeps nobody: not the runtime, and the caller only if that gave it a pipe.
#[test]
fn a_background_process_is_not_waited_for() {
    if is_peer() {
        return;
    }
    for kind in [Kind::Pipe, Kind::File, Kind::Socket, Kind::Terminal] {
        let mut bundle = Bundle::new();
        bundle.asleep();
        let program = bundle.exec_with(&[], &["/bin/sh", "-c", "sleep 1000 & echo done"]);
        let (program, ours) = give(program, kind, "", &bundle.logs());
        program.spawn().wait().ok();
        if kind != Kind::Pipe {
            assert!(ours.rest().contains("done"), "{kind:?}");
        }
    }
}

/// What stays behind can neither read what the user types next, nor write to the user's terminal.
#[test]
fn a_background_process_has_no_hold_on_the_terminal() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.asleep();
    let script = "(cat <&3 > /dev/null) 3<&0 & readlink /proc/self/fd/0";
    let mut pty = Pty::new(24, 80);
    let program = bundle.exec_with(&[], &["/bin/sh", "-c", script]);
    program.stdio(pty.stdio(), pty.stdio(), pty.stdio()).spawn().wait().ok();
    pty.expect("pipe:");
    pty.send("secret\n");
    let mut slave = File::from(pty.slave());
    let mut line = [0; 64];
    let count = slave.read(&mut line).unwrap();
    assert_eq!(&line[..count], b"secret\n");
}

/// A reader that goes away is the program's to notice, by the signal that is meant for this.
#[test]
fn a_reader_that_goes_away() {
    for socket in [false, true] {
        let mut bundle = Bundle::new();
        bundle.asleep();
        let program = bundle.exec_with(&[], &["/bin/busybox", "yes"]);
        let (stream, stdout) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let stdout = if socket { owned(stdout) } else { writer.into() };
        let (err, stderr) = std::io::pipe().unwrap();
        let running = program.stdio(Stdio::null(), stdout, stderr.into()).spawn();
        let mut some = [0; 10];
        let (mut stream, mut reader, mut err) = (stream, reader, err);
        let from: &mut dyn Read = if socket { &mut stream } else { &mut reader };
        from.read_exact(&mut some).unwrap();
        drop((stream, reader));
        running.wait().exits(128 + 13);
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        assert_eq!(text, "", "nothing to complain of");
    }
}

/// A disk that is full is another matter: the user is told.
#[test]
fn output_that_cannot_be_written_is_told() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "lost"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let err = bundle.logs().join("complaint");
    let done = bundle.start_with("run", &[]).stdio(Stdio::null(), full.into(), File::create(&err).unwrap().into());
    done.spawn().wait().ok();
    let text = fs::read_to_string(err).unwrap();
    assert!(text.contains("copy the container's output") && text.contains("no space left"), "{text}");
}

/// The container of a user namespace can open what it was given by name too.
#[test]
fn by_name_in_a_user_namespace() {
    let mut bundle = Bundle::new();
    if !is_rootless() {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        bundle.namespace("user", None);
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    }
    let output = bundle.logs().join("named");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).script("echo by name > /proc/self/fd/1");
    let file = File::create(&output).unwrap();
    bundle.start_with("run", &[]).stdio(Stdio::null(), file.into(), Stdio::null()).run().ok();
    assert_eq!(fs::read_to_string(output).unwrap(), "by name\n");
}
