//! The default profiles of Docker and Podman inside a container, call by call: let through, denied, absent, decided by
//! arguments, and the same by the entry of 32-bit programs. The tables hold what runc does: the tests pass with
//! `ONGGI_BIN=runc` as well.

use crate::harness::Bundle;
use serde_json::{Map, Value};

/// Calls as the probe wants them.
const CALLS: [&str; 50] = [
    "call:39:",                 // getpid
    "call:102:",                // getuid
    "call:96:",                 // gettimeofday
    "call:24:",                 // sched_yield
    "call:61:-1,0,1",           // wait4
    "call:0:-1",                // read
    "call:3:-1",                // close
    "call:257:-1,0",            // openat
    "call:435:0,0",             // clone3
    "call:56:268435968",        // clone, of a user namespace, with CLONE_FS: invalid
    "call:272:268435457",       // unshare, of a user namespace, and an invalid flag
    "call:272:0",               // unshare, of nothing
    "call:308:-1,0",            // setns
    "call:165:0,0,0,0",         // mount
    "call:166:0,0",             // umount2
    "call:155:0,0",             // pivot_root
    "call:161:0",               // chroot
    "call:101:3,-1",            // ptrace
    "call:246:0,0,0,65535",     // kexec_load
    "call:320:-1,-1,0,0,65535", // kexec_file_load
    "call:169:0,0,0",           // reboot
    "call:167:0",               // swapon
    "call:168:0",               // swapoff
    "call:175:0,0,0",           // init_module
    "call:176:0,0",             // delete_module
    "call:172:-1",              // iopl
    "call:173:-1,-1,-1",        // ioperm
    "call:179:-1,0,0,0",        // quotactl
    "call:163:-1",              // acct
    "call:164:0,0",             // settimeofday
    "call:227:-1,0",            // clock_settime
    "call:304:-1,0,0",          // open_by_handle_at
    "call:298:0,0,-1,-1,-1",    // perf_event_open
    "call:323:-1",              // userfaultfd
    "call:321:-1",              // bpf
    "call:250:-1",              // keyctl
    "call:248:0,0",             // add_key
    "call:425:0,0",             // io_uring_setup
    "call:430:0,-1",            // fsopen
    "call:428:-1,0,-1",         // open_tree
    "call:139:-1",              // sysfs
    "call:135:4294967295",      // personality, asked for
    "call:135:33554432",        // personality, an odd one
    "call:41:1,1,0",            // socket, AF_UNIX
    "call:41:40,1,0",           // socket, AF_VSOCK
    "call:9999:",               // a number of no call
    "int80:20:",                // getpid
    "int80:21:0,0,0,0",         // mount
    "int80:359:40,1,0",         // socket, AF_VSOCK
    "int80:9999:",              // a number of no call
];

/// The answers, as one letter each: `d` denied (EPERM), `a` absent (ENOSYS), `p` anything else that the kernel says.
fn answers(profile: &str) -> String {
    let mut bundle = Bundle::new();
    bundle.set("/linux/seccomp", serde_json::from_str(profile).unwrap());
    let seen: Map<String, Value> = bundle.probe(&[&["raw-calls"], &CALLS[..]].concat()).as_object().unwrap().clone();
    let letter = |call: &&str| match seen[*call].as_str() {
        Some("EPERM") => 'd',
        Some("ENOSYS") => 'a',
        Some(answer) => {
            assert_ne!(answer, "usage", "{call}");
            'p'
        }
        None => '?',
    };
    CALLS.iter().map(letter).collect()
}

#[test]
fn docker() {
    assert_eq!(answers(include_str!("profiles/docker.json")), "ppppppppadddddddppdddddddddddddddddddddddpdpdapdda");
}

#[test]
fn podman() {
    assert_eq!(answers(include_str!("profiles/podman.json")), "pppppppppppppppdppdddddddddddddddddpaadpdpappapppa");
}
