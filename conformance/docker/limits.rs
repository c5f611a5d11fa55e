//! Limits are enforced, and changed while the container runs.

use super::{docker, run, start};
use crate::machine::{fails, sh, try_sh, wait_until};

/// What a cgroup file of the container says.
#[track_caller]
fn limit(name: &str, file: &str) -> String {
    docker(&format!("exec {name} cat /sys/fs/cgroup/{file}"))
}

#[test]
fn memory() {
    // One process, so that nothing but it can be the victim.
    let container = run("memory", "-m 32m --memory-swap 32m small dd if=/dev/zero of=/dev/null bs=128M count=1000");
    container.wait_for_status("exited");
    // The engine hears of both by different events.
    wait_until("it knows the reason", || container.inspect(".State.OOMKilled") == "true");
    assert_eq!(container.inspect(".State.ExitCode"), "137");
}

#[test]
fn pids() {
    start();
    let said = try_sh(
        "docker run --rm --pids-limit 10 small sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all' 2>&1",
    );
    assert!(said.out.contains("fork"), "{said:?}");
}

#[test]
fn cpu() {
    let container = run("cpu", "--cpus 0.2 --cpu-shares 512 --cpuset-cpus 1 small sh -c 'while :; do :; done'");
    assert_eq!(limit("cpu", "cpu.max"), "20000 100000");
    assert_eq!(limit("cpu", "cpuset.cpus.effective"), "1");
    wait_until("it is throttled", || {
        let stat = limit("cpu", "cpu.stat");
        stat.lines().any(|line| line.strip_prefix("nr_throttled ").is_some_and(|count| count != "0"))
    });
    assert_eq!(container.exec("nproc"), "1");
}

#[test]
fn updates() {
    let container = run("update", "-m 64m --memory-swap 64m small sleep 1000");
    docker("update -m 96m --memory-swap 96m --cpus 0.5 --pids-limit 20 update");
    assert_eq!(limit("update", "memory.max"), (96 << 20).to_string());
    assert_eq!(limit("update", "cpu.max"), "50000 100000");
    assert_eq!(limit("update", "pids.max"), "20");
    assert_eq!(container.exec("echo alive"), "alive");
    assert_eq!(docker("exec update sh -c 'sleep 0 && echo alive'"), "alive");
}

#[test]
fn descriptors_and_shared_memory() {
    start();
    let said = docker(
        "run --rm --ulimit nofile=77:99 --shm-size 2m small sh -c 'ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1'",
    );
    assert!(said.starts_with("77\n99\n") && said.contains(" 2048 "), "{said}");
    assert!(
        fails(1, "docker run --rm --shm-size 1m small dd if=/dev/zero of=/dev/shm/full bs=1M count=2")
            .contains("No space")
    );
}

#[test]
fn devices() {
    start();
    let read = "sh -c 'mknod /tmp/m b 254 0; head -c 0 /tmp/m && echo open'";
    assert!(!try_sh(&format!("docker run --rm small {read}")).out.contains("open"));
    assert_eq!(docker(&format!("run --rm --device-cgroup-rule 'b 254:0 rmw' small {read}")), "open");
    assert_eq!(
        docker(
            "run --rm --device /dev/vda:/dev/disk:r small sh -c '[ -b /dev/disk ] && head -c 0 /dev/disk && echo open'"
        ),
        "open"
    );
    assert_eq!(
        sh("docker run --rm --device /dev/null:/dev/hole small sh -c 'echo x > /dev/hole && echo gone'"),
        "gone"
    );
}
