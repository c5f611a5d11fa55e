//! The life of containers: `run`, `exec`, `logs`, `stop` and all the others.

use super::{docker, named, run, start};
use crate::images;
use crate::machine::{fails, patience, sh, try_sh, wait_until};
use std::time::{Duration, Instant};

/// Well under a second on a real machine, and most of it the engine's. A machine that is emulated has others beside it.
#[test]
fn starts_within_a_second() {
    start();
    let quickest = (0..3).map(|_| {
        let begin = Instant::now();
        docker("run --rm small true");
        begin.elapsed()
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < patience(2), "{quickest:?}");
}

#[test]
fn onggi_is_the_runtime() {
    let container = run("the-runtime", "small sleep 1000");
    assert_eq!(container.inspect(".HostConfig.Runtime"), "onggi");
    let id = container.inspect(".Id");
    let pid = container.inspect(".State.Pid");
    assert!(
        sh(&format!("onggi --root /run/docker/runtime-runc/moby state {id}")).contains(&format!("\"pid\": {pid},"))
    );
}

#[test]
fn prints_and_tells_its_status() {
    start();
    assert_eq!(docker("run --rm small echo hello"), "hello");
    assert_eq!(sh("echo typed | docker run --rm -i small cat"), "typed");
    fails(7, "docker run --rm small sh -c 'exit 7'");
    fails(143, "docker run --rm --init small sh -c 'kill -TERM $$'");
    assert!(fails(127, "docker run --rm small /nonexistent").contains("no such file or directory"));
    assert!(fails(126, "docker run --rm small /etc/passwd").contains("permission denied"));
    assert_eq!(docker("ps -aq --filter status=created --filter ancestor=small"), "");
}

#[test]
fn containers_do_not_see_each_others_changes() {
    let first = run("changes-1", "small sleep 1000");
    let second = run("changes-2", "small sleep 1000");
    first.exec("echo mine > /srv/index.html; rm -r /home");
    assert_eq!(second.exec("cat /srv/index.html; ls -d /home"), "hello\n/home");
    assert_eq!(docker("run --rm small cat /srv/index.html"), "hello");
    assert_eq!(docker("diff changes-1 | sort | tr '\\n' ,"), "C /srv,C /srv/index.html,D /home,");
}

/// As in a guide: install a package, add a user, leave things running.
#[test]
fn a_debian_that_is_lived_in() {
    start();
    sh(&format!("tar -C {} -c . | docker import - debian", images::debian()));
    sh("cd $(mktemp -d) && mkdir -p p/DEBIAN p/usr/local/bin && printf '#!/bin/sh\necho works\n' > p/usr/local/bin/tool &&
        chmod +x p/usr/local/bin/tool && printf '#!/bin/sh\necho configured > /var/lib/tool\n' > p/DEBIAN/postinst &&
        chmod +x p/DEBIAN/postinst &&
        printf 'Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: me <me@example.org>\nDescription: a tool\n' \
            > p/DEBIAN/control && dpkg-deb --root-owner-group --build p tool.deb && cp tool.deb /tmp/tool.deb");
    let container = run("lived-in", "-v /tmp/tool.deb:/tool.deb:ro debian sleep 1000");
    container.exec("dpkg -i /tool.deb");
    assert_eq!(
        container.exec("tool; cat /var/lib/tool; dpkg -s tool | grep Status"),
        "works\nconfigured\nStatus: install ok installed"
    );
    container.exec("useradd --create-home --shell /bin/bash ada && echo ada:secret | chpasswd");
    assert_eq!(
        docker("exec -u ada lived-in sh -c 'id -un; cd; pwd; touch mine; stat -c %U mine'"),
        "ada\n/home/ada\nada"
    );
    for seconds in [1001, 1002, 1003] {
        docker(&format!("exec -d lived-in sleep {seconds}"));
    }
    let count = || docker("top lived-in -eo pid,args | grep -c 'sleep 100[123]'");
    wait_until("three programs in the background", || {
        try_sh("docker top lived-in -eo pid,args").out.contains("sleep 1003")
    });
    assert_eq!(count(), "3");
}

#[test]
fn exec_with_and_without_a_terminal() {
    let container = run("exec-tty", "small sleep 1000");
    assert_eq!(container.exec("tty || true"), "not a tty");
    let shown =
        sh("script -qec \"docker exec -it exec-tty sh -c 'tty; stty size; exit 3'\" /dev/null || echo status=$?");
    assert!(shown.contains("/dev/pts/0") && shown.contains("status=3"), "{shown}");
    assert_eq!(sh("echo piped | docker exec -i exec-tty cat"), "piped");
    assert_eq!(docker("exec -w /srv -e NAME=value -u www exec-tty sh -c 'pwd; echo $NAME; id -u'"), "/srv\nvalue\n33");
    fails(9, "docker exec exec-tty sh -c 'exit 9'");
    fails(126, "docker exec exec-tty /nonexistent");
    let shown = sh("script -qec 'docker run --rm -it small tty' /dev/null");
    assert!(shown.contains("/dev/pts/0"), "{shown}");
}

#[test]
fn logs_are_followed() {
    let _container = run(
        "logs",
        "small sh -c 'i=0; while [ $i -lt 5 ]; do echo line $i; echo wrong >&2; i=$((i+1)); sleep 0.2; done'",
    );
    let followed = docker("logs -f logs 2> /dev/null");
    assert_eq!(followed, "line 0\nline 1\nline 2\nline 3\nline 4");
    assert_eq!(docker("logs logs 2>&1 > /dev/null | sort | uniq -c | tr -s ' '"), "5 wrong");
    assert_eq!(docker("wait logs"), "0");
}

#[test]
fn pause_and_unpause() {
    let container = run("pause", "small sh -c 'while :; do date +%s%N > /tmp/next; mv /tmp/next /tmp/now; done'");
    docker("pause pause");
    assert_eq!(container.inspect(".State.Status"), "paused");
    let now = || docker("cp pause:/tmp/now - | tar -xO");
    let before = now();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(now(), before);
    assert!(fails(1, "docker exec pause true").contains("paused"));
    docker("unpause pause");
    wait_until("it goes on", || now() != before);
}

#[test]
fn files_are_copied_both_ways() {
    let container = run("copy", "small sleep 1000");
    sh("mkdir -p /tmp/copy && echo there > /tmp/copy/file && docker cp /tmp/copy copy:/srv");
    assert_eq!(container.exec("cat /srv/copy/file"), "there");
    container.exec("echo back > /srv/copy/file");
    assert_eq!(sh("docker cp copy:/srv/copy/file /tmp/copy/again && cat /tmp/copy/again"), "back");
}

#[test]
fn stop_kill_restart() {
    let polite = run("polite", "small sh -c 'trap \"exit 5\" TERM; echo up; while :; do sleep 0.1; done'");
    wait_until("it listens", || docker("logs polite") == "up");
    docker("stop polite");
    assert_eq!(polite.inspect(".State.ExitCode"), "5");
    docker("restart -t 1 polite");
    assert_eq!(polite.inspect(".State.Status"), "running");
    docker("kill -s KILL polite");
    polite.wait_for_status("exited");
    assert_eq!(polite.inspect(".State.ExitCode"), "137");
    // As PID 1 it ignores what it does not ask for.
    let deaf = run("deaf", "small sleep 1000");
    let begin = Instant::now();
    docker("stop -t 1 deaf");
    assert!(begin.elapsed() > Duration::from_secs(1));
    assert_eq!(deaf.inspect(".State.ExitCode"), "137");
    docker("start deaf");
    assert_eq!(deaf.exec("echo again"), "again");
}

#[test]
fn restarts_by_itself() {
    let container = run("restart", "--restart=on-failure:2 small sh -c 'exit 4'");
    wait_until("it has been started again", || container.inspect(".RestartCount") == "2");
    container.wait_for_status("exited");
    assert_eq!(container.inspect(".State.ExitCode"), "4");
}

#[test]
fn top_and_stats() {
    let _container = run("top", "-m 100m small sh -c 'sleep 1000 & wait'");
    assert_eq!(
        docker("top top -eo pid,args | tail -n +2 | sed 's/^ *[0-9]* *//' | sort"),
        "sh -c sleep 1000 & wait\nsleep 1000"
    );
    let stats = docker("stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' top");
    assert!(stats.contains("/ 100MiB") && stats.ends_with(" 2"), "{stats}");
}

#[test]
fn an_init_that_reaps() {
    let with = run("init-with", "--init small sh -c 'sleep 0.1 & exec sleep 1000'");
    assert!(docker("exec init-with cat /proc/1/comm").contains("init"));
    wait_until("the orphan is reaped", || !docker("top init-with -eo pid,stat,args").contains("Z "));
    docker("stop -t 20 init-with");
    assert_eq!(with.inspect(".State.ExitCode"), "143");
}

#[test]
fn health_is_probed() {
    let container =
        run("health", "--health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 small sleep 1000");
    wait_until("it is ill", || container.inspect(".State.Health.Status") == "unhealthy");
    container.exec("touch /tmp/well");
    wait_until("it is well", || container.inspect(".State.Health.Status") == "healthy");
}

#[test]
fn namespaces_of_another_container() {
    let first = run("pod", "--hostname shared --ipc shareable small sleep 1000");
    let all = "--net container:pod --pid container:pod --ipc container:pod";
    let seen = docker(&format!(
        "run --rm {all} small sh -c 'hostname; readlink /proc/self/ns/ipc; readlink /proc/self/ns/net; ps'"
    ));
    assert!(seen.starts_with("shared\n"), "{seen}");
    assert!(seen.contains("sleep 1000"), "{seen}");
    for kind in ["ipc", "net"] {
        let of_first = first.exec(&format!("readlink /proc/self/ns/{kind}"));
        assert!(seen.contains(&of_first), "{seen}: {of_first}");
    }
    assert!(docker("run --rm --pid host small ps").contains("dockerd"));
}

#[test]
fn thirty_at_once() {
    start();
    let all: Vec<_> = (0..30).map(|number| named(&format!("many-{number}"))).collect();
    sh("for i in $(seq 0 29); do docker run -d --net none --name many-$i small sleep 1000 > /dev/null & done; wait");
    assert_eq!(docker("ps -q --filter name=many- | wc -l"), "30");
    sh("docker kill $(docker ps -q --filter name=many-) > /dev/null");
    wait_until("all are gone", || docker("ps -q --filter name=many- | wc -l") == "0");
    drop(all);
}
