//! Sessions at a terminal, as people have them: a shell, its job control, windows that change their size or vanish, and a
//! terminal that is as before when all is over.

use crate::harness::{Bundle, Invocation, Pty, Running, Tmux, is_peer, patience, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// `run` and `exec` of the same program with a terminal.
const BOTH: [&str; 2] = ["run", "exec"];

/// Prepares `verb` of a shell script with a terminal; the container is there for `exec`.
fn interactive(bundle: &mut Bundle, verb: &str, script: &str) -> Invocation {
    if verb == "exec" {
        bundle.asleep();
        return bundle.exec_with(&["-t"], &["/bin/sh", "-c", script]);
    }
    bundle.set("/process/terminal", json!(true)).script(script);
    bundle.start_with("run", &[])
}

/// A script in the bundle for typing: it tells its pid, which becomes the runtime's.
fn typed(bundle: &Bundle, name: &str, args: &[&str]) {
    let words: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let binary = crate::harness::binary().display();
    let root = bundle.state_root().display();
    let text = format!("#!/bin/sh\necho runtime=$$.\nexec {binary} --root {root} {}\n", words.join(" "));
    let path = bundle.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The number after `name=` in what the terminal shows next.
fn number(pty: &mut Pty, name: &str) -> Pid {
    pty.expect(&format!("{name}="));
    let text = pty.expect(".");
    Pid::from_raw(text.trim_end_matches('.').parse().unwrap())
}

/// An interactive shell of the host, with job control, in the bundle's directory.
fn host_shell(bundle: &Bundle) -> (Pty, Running) {
    let mut shell = std::process::Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "host> ").env("HISTFILE", "").current_dir(bundle.path());
    let (mut pty, running) = Pty::control(Invocation::new(&bundle.logs(), shell));
    pty.expect("host> ");
    (pty, running)
}

/// Asks for the status of what the shell ran last, and leaves it.
fn leave(mut pty: Pty, shell: Running, status: u8) {
    pty.expect("host> ");
    pty.send("echo status=$?.\n");
    pty.expect(&format!("status={status}."));
    pty.send("exit\n");
    pty.rest();
    shell.wait();
}

fn is_stopped(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

/// Types until the runtime, in the background, has looked for a key before the shell took it (SIGTTIN), and the shell has
/// been told. One that is stopped while the shell brings it to the foreground would just stay stopped there.
fn stopped_by_a_key(pty: &mut Pty, runtime: Pid) {
    wait_until("a key stops it", || {
        pty.send("\n");
        is_stopped(runtime)
    });
    pty.send("\n");
    pty.expect("Stopped");
}

/// One command after the other, in a terminal emulator.
#[test]
fn a_person_at_a_shell() {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true)).set("/process/env/-", json!("PS1=in> ")).args(&["/bin/sh"]);
    bundle.save();
    let path = bundle.path().to_str().unwrap().to_owned();
    typed(&bundle, "go", &["run", "--bundle", &path, &bundle.id]);
    typed(&bundle, "other", &["exec", "-t", "-e", "PS1=other> ", &bundle.id, "/bin/sh"]);
    let Some(tmux) = Tmux::start(bundle.path(), "bash --norc --noprofile", "a session in a terminal emulator") else {
        return;
    };
    let session = |prompt: &str, rows: u16| {
        tmux.expect(prompt);
        tmux.resize(rows, 100);
        tmux.line("stty size");
        tmux.expect(&format!("{rows} 100"));
        let begin = |name: &str, command: &str| {
            tmux.line(&format!("printf '\\\\033c'; echo be''gun {name}; {command}"));
            tmux.expect(&format!("begun {name}"));
            // The shell has still to start it, and keys for the program must not reach the shell.
            std::thread::sleep(patience(1) / 2);
        };
        begin("one", "sleep 1000");
        tmux.key("C-c");
        tmux.line("echo goes on in $((rows + 1))");
        tmux.expect("goes on in 1");
        begin("two", "sleep 1001");
        tmux.key("C-z");
        tmux.expect("Stopped");
        tmux.line("bg; jobs | sed s/ing/ING/");
        tmux.expect("RunnING");
        tmux.line("kill %1; wait; echo was=$((40 + 2))");
        tmux.expect("was=42");
        begin("three", "cat; echo cat=$((10 + 4))");
        tmux.key("C-d");
        tmux.expect("cat=14");
        tmux.line("printf '\\033c'");
        // BusyBox's shell asks the terminal where the cursor is, and loses keys that come within 50 ms of the answer.
        tmux.expect(prompt);
        std::thread::sleep(patience(1) / 4);
    };
    tmux.line("clear; ./go; echo first=$?");
    session("in> ", 30);
    // While the first goes on, from another shell.
    let Some(second) = Tmux::start(&bundle.logs(), "bash --norc --noprofile", "a second session") else { return };
    second.line("../other; echo second=$?");
    second.expect("other> ");
    second.resize(40, 120);
    second.line("stty size; exit 7");
    second.expect("40 120");
    second.expect("second=7");
    tmux.key("C-d");
    tmux.expect("first=");
    tmux.line("stty -a | tr - _");
    tmux.expect(" icanon");
    assert!(!bundle.state_root().join(&bundle.id).exists());
}

/// However it ends, and whoever ends it.
#[test]
fn modes_come_back() {
    const WAITING: &str =
        "trap 'exit 5' TERM; trap 'exit 6' HUP; trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let cases: [(&str, Option<Signal>, &str); 5] = [
        ("exit 3", None, "status=3"),
        ("exec /nonexistent", None, "status=127"),
        (WAITING, Some(Signal::SIGTERM), "status=5"),
        (WAITING, Some(Signal::SIGHUP), "status=6"),
        (WAITING, Some(Signal::SIGINT), "status=7"),
    ];
    for verb in BOTH {
        for (script, signal, expected) in cases {
            if is_peer() && signal == Some(Signal::SIGINT) {
                continue;
            }
            let mut bundle = Bundle::new();
            let program = interactive(&mut bundle, verb, script);
            let mut pty = watched(program);
            if let Some(signal) = signal {
                let runtime = number(&mut pty, "runtime");
                pty.expect("ready");
                wait_until("the terminal is raw", || pty.is_raw());
                kill(runtime, signal).unwrap();
            }
            assert!(pty.expect("modes.").contains(&format!("{expected} same modes.")), "{verb} {script} {signal:?}");
        }
    }
}

/// Runs the program below a shell of the host that compares the modes of the terminal before and after it.
fn watched(program: Invocation) -> Pty {
    const COMPARE: &str = "old=$(stty -g); sh -c 'echo runtime=$$.; exec \"$@\"' - \"$@\"; status=$?; new=$(stty -g)
        [ \"$old\" = \"$new\" ] && echo status=$status same modes. || echo status=$status other modes.; sleep 0.2";
    Pty::control(program.under(&["sh", "-c", COMPARE, "-"])).0
}

/// Errors come when the terminal is raw already, and are shown when it is as before.
#[test]
fn modes_come_back_after_errors() {
    let mut failing = Bundle::new();
    failing.set("/hooks/poststart", json!([{"path": "/bin/false"}]));
    let program = interactive(&mut failing, "run", "sleep 1000");
    let shown = watched(program).expect("modes.");
    assert!(shown.contains("same modes.") && !shown.contains("status=0"), "{shown}");
    for verb in BOTH {
        let mut bundle = Bundle::new();
        fs::write(bundle.rootfs().join("data/run.sh"), "#!/nonexistent\n").unwrap();
        fs::set_permissions(bundle.rootfs().join("data/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let program = if verb == "exec" {
            bundle.asleep();
            bundle.exec_with(&["-t"], &["/data/run.sh"])
        } else {
            bundle.set("/process/terminal", json!(true)).args(&["/data/run.sh"]);
            bundle.start_with("run", &[])
        };
        let shown = watched(program).expect("modes.");
        assert!(shown.contains("status=255 same modes.") || is_peer(), "{verb}: {shown}");
    }
}

#[test]
fn a_new_size_is_passed_on_with_its_signal() {
    for verb in BOTH {
        let mut bundle = Bundle::new();
        let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
        let (mut pty, program) = Pty::control(interactive(&mut bundle, verb, script));
        pty.expect("ready");
        for (rows, columns) in [(40, 120), (2, 2), (25, 80)] {
            pty.resize(rows, columns);
            pty.expect(&format!("{rows} {columns}"));
        }
        program.signal(Signal::SIGKILL);
        program.wait();
        bundle.verb("delete", &["--force"]).ok();
    }
}

/// What ends the runtime elsewhere, stops it or means nothing to it is the program's to decide on. SIGWINCH is about the
/// runtime's own terminal.
#[test]
fn signals_go_on_to_the_program() {
    use Signal::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH};
    let forwarded = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGTSTP, SIGCONT];
    for verb in BOTH {
        let mut bundle = Bundle::new();
        let names = forwarded.map(|signal| signal.as_str().trim_start_matches("SIG"));
        let traps: String = names.map(|name| format!("trap 'echo got {name}.' {name}; ")).concat();
        let script = format!("{traps} trap 'echo got WINCH.' WINCH; echo ready; while :; do sleep 0.05; done");
        let (mut pty, program) = Pty::control(interactive(&mut bundle, verb, &script));
        pty.expect("ready");
        for (signal, name) in forwarded.into_iter().zip(names) {
            program.signal(SIGWINCH);
            program.signal(signal);
            let shown = pty.expect(&format!("got {name}."));
            assert!(!shown.contains("WINCH"), "{shown}");
        }
        program.signal(Signal::SIGKILL);
        program.wait();
        bundle.verb("delete", &["--force"]).ok();
    }
}

/// A shell stops the runtime and lets it go on: it has the terminal as it needs it, of the size that it has by then. In
/// the background it leaves the terminal alone, and its output comes nevertheless.
#[test]
fn a_shell_stops_and_resumes() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true));
    bundle.script("echo ready; while read line; do echo \"got=$line\"; stty size; done; exit 9");
    bundle.save();
    typed(&bundle, "go", &["run", "--bundle", bundle.path().to_str().unwrap(), &bundle.id]);
    let (mut pty, shell) = host_shell(&bundle);
    pty.send("./go\n");
    let runtime = number(&mut pty, "runtime");
    pty.expect("ready");
    wait_until("the terminal is raw", || pty.is_raw());
    kill(runtime, Signal::SIGSTOP).unwrap();
    pty.expect("Stopped");
    pty.resize(30, 100);
    pty.send("fg\n");
    wait_until("the terminal is raw again", || pty.is_raw());
    pty.send("one\n");
    pty.expect("got=one");
    pty.expect("30 100");
    // On in the background: the shell has its terminal, and reading it is what stops a program there.
    kill(runtime, Signal::SIGSTOP).unwrap();
    pty.expect("Stopped");
    pty.send("bg\n");
    wait_until("it goes on", || !is_stopped(runtime));
    stopped_by_a_key(&mut pty, runtime);
    pty.send("fg\n");
    wait_until("the terminal is raw once more", || pty.is_raw() && !is_stopped(runtime));
    pty.send("two\n");
    pty.expect("got=two");
    pty.send("\u{4}");
    leave(pty, shell, 9);
}

/// `onggi run &`: a terminal's background is no place to change or to read it.
#[test]
fn started_in_the_background() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true));
    bundle.script("echo re\"\"ady; read line; echo \"got=$line\"; exit 9");
    bundle.save();
    typed(&bundle, "go", &["run", "--bundle", bundle.path().to_str().unwrap(), &bundle.id]);
    let (mut pty, shell) = host_shell(&bundle);
    pty.send("./go &\n");
    let runtime = number(&mut pty, "runtime");
    // It prints, as others do in the background.
    pty.expect("ready");
    assert!(!is_stopped(runtime));
    stopped_by_a_key(&mut pty, runtime);
    pty.send("fg\n");
    wait_until("the terminal is raw", || pty.is_raw() && !is_stopped(runtime));
    pty.send("\n");
    pty.expect("got=");
    leave(pty, shell, 9);
}

/// The window is closed: the container's terminal is hung up as well, though nothing is printed.
#[test]
fn a_terminal_that_vanishes_is_a_hangup() {
    for verb in BOTH {
        let mut bundle = Bundle::new();
        let (mut pty, program) = Pty::control(interactive(
            &mut bundle,
            verb,
            "trap '' HUP; echo ready; while read line; do :; done; exit 4",
        ));
        pty.expect("ready");
        wait_until("the terminal is raw", || pty.is_raw());
        drop(pty);
        assert_eq!(program.wait().status.code(), Some(4), "{verb}");
    }
}

/// A reader that stops reading, such as a frozen emulator, stops the output and nothing else.
#[test]
fn signals_pass_while_nobody_reads_the_terminal() {
    let mut bundle = Bundle::new();
    let script = "trap 'exit 8' TERM; echo ready; busybox yes & wait";
    let (mut pty, program) = Pty::control(interactive(&mut bundle, "run", script));
    pty.expect("ready");
    let init = bundle.pid();
    std::thread::sleep(std::time::Duration::from_millis(500));
    program.signal(Signal::SIGTERM);
    wait_until("the program ends", || !fs::exists(format!("/proc/{init}")).unwrap() || is_zombie(init));
    pty.rest();
    program.wait().exits(8);
}

fn is_zombie(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// A stdin that is no terminal and ends: whoever reads the terminal learns of it, also in the middle of a line.
#[test]
fn the_end_of_stdin_is_the_end_of_the_terminals_input() {
    if is_peer() {
        return;
    }
    for verb in BOTH {
        for input in ["", "one\n", "one\ntwo"] {
            let mut bundle = Bundle::new();
            let mut pty = Pty::new(24, 80);
            let program = interactive(&mut bundle, verb, "echo in=$(cat | wc -c).; exit 3");
            let file = bundle.path().join("input");
            fs::write(&file, input).unwrap();
            let program = program.stdio(File::open(file).unwrap().into(), pty.stdio(), pty.stdio()).spawn();
            pty.close_slave();
            pty.expect(&format!("in={}.", input.len()));
            program.wait().exits(3);
        }
    }
}

/// `</dev/null` says that there is no input, not that it has ended: a shell in the container stays.
#[test]
fn the_null_device_is_no_end_of_input() {
    let mut bundle = Bundle::new();
    let mut pty = Pty::new(24, 80);
    let program = interactive(&mut bundle, "run", "echo ready; cat; exit 6");
    let program = program.stdio(Stdio::null(), pty.stdio(), pty.stdio()).spawn();
    pty.close_slave();
    pty.expect("ready");
    std::thread::sleep(std::time::Duration::from_millis(300));
    bundle.kill("KILL").ok();
    program.wait().exits(137);
}

/// Whose size and modes count: the first terminal among stderr, stdout, stdin and the controlling one.
#[test]
fn the_terminal_is_chosen_in_this_order() {
    for verb in BOTH {
        let mut bundle = Bundle::new();
        drop(interactive(&mut bundle, verb, "stty size"));
        let program = || match verb {
            "exec" => bundle.exec_with(&["-t"], &["stty", "size"]),
            _ => bundle.start_with("run", &[]),
        };
        let (first, second) = (Pty::new(30, 90), Pty::new(24, 80));
        let output = bundle.path().join("output");
        let file = || Stdio::from(File::create(&output).unwrap());
        let shown = || fs::read_to_string(&output).unwrap();
        program().stdio(second.stdio(), file(), first.stdio()).spawn().wait().ok();
        assert!(shown().contains("30 90"), "{verb}: stderr: {}", shown());
        program().stdio(first.stdio(), file(), Stdio::null()).spawn().wait().ok();
        assert!(shown().contains("30 90"), "{verb}: stdin: {}", shown());
        let mut first = first;
        program().stdio(second.stdio(), first.stdio(), Stdio::null()).spawn().wait().ok();
        first.expect("30 90");
        // None of them, but a controlling terminal.
        let away = format!("exec \"$@\" </dev/null >{} 2>/dev/null", output.display());
        let (mut pty, program) = Pty::control(program().under(&["sh", "-c", &away, "-"]));
        pty.rest();
        program.wait().ok();
        assert!(shown().contains("24 80"), "{verb}: {}", shown());
    }
}

/// A reader that has gone away is a hangup for the program, and not a broken pipe.
#[test]
fn stdout_that_breaks_hangs_up_on_exec() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    let script = "trap 'exit 8' HUP; trap 'exit 9' PIPE; while :; do echo x; sleep 0.05; done";
    let program = interactive(&mut bundle, "exec", script);
    let pty = Pty::new(24, 80);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    program.stdio(pty.stdio(), writer.into(), Stdio::null()).spawn().wait().exits(8);
}
