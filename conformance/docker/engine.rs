//! What the engine does around containers: networks, volumes, builds, and its own restarts.

use super::{docker, named, run, start};
use crate::images;
use crate::machine::{Finally, fails, repository, sh, try_sh, wait_until};

#[test]
fn a_port_of_the_host() {
    let _container = run("web", "-p 127.0.0.1:8080:80 small httpd -f -p 80 -h /srv");
    let fetch = "busybox wget -qO- http://127.0.0.1:8080/index.html";
    wait_until("the page", || try_sh(fetch).out == "hello");
}

#[test]
fn containers_talk_by_name() {
    start();
    let network = Finally("docker network rm talk".to_owned());
    docker("network create talk");
    let server = run("server", "--net talk small httpd -f -p 80 -h /srv");
    let _client = run("client", "--net talk small sleep 1000");
    wait_until("the page", || try_sh("docker exec client wget -qO- http://server/index.html").out == "hello");
    assert!(fails(1, "docker run --rm --net none small wget -qO- http://server/").contains("bad address"));
    drop((server, _client, network));
}

#[test]
fn directories_and_volumes() {
    start();
    sh("mkdir -p /tmp/shared && echo host > /tmp/shared/file");
    assert_eq!(docker("run --rm -v /tmp/shared:/mine small sh -c 'cat /mine/file; echo guest > /mine/file'"), "host");
    assert_eq!(sh("cat /tmp/shared/file"), "guest");
    let script = "sh -c 'echo x > /mine/file'";
    assert!(fails(1, &format!("docker run --rm -v /tmp/shared:/mine:ro small {script}")).contains("Read-only"));
    let _volume = Finally("docker volume rm kept".to_owned());
    docker("run --rm -v kept:/data small sh -c 'echo kept > /data/file'");
    assert_eq!(docker("run --rm --mount type=volume,src=kept,dst=/data,readonly small cat /data/file"), "kept");
    // What the image has at the place of a fresh volume is copied into it.
    let _volume = Finally("docker volume rm copied".to_owned());
    assert_eq!(docker("run --rm -v copied:/srv small cat /srv/index.html"), "hello");
}

#[test]
fn build() {
    start();
    sh("mkdir -p /tmp/build && cd /tmp/build && echo content > file && cat > Dockerfile << 'END'
FROM small
COPY file /srv/file
RUN echo builder:x:50:50::/:/bin/sh >> /etc/passwd && echo built >> /srv/file
WORKDIR /srv
USER builder
RUN id -un > /tmp/who
ENV WORD=spoken
ENTRYPOINT [\"sh\", \"-c\"]
CMD [\"cat file /tmp/who; pwd; echo $WORD\"]
END
DOCKER_BUILDKIT=0 docker build -q -t built . > /dev/null");
    assert_eq!(docker("run --rm built"), "content\nbuilt\nbuilder\n/srv\nspoken");
    assert!(
        fails(3, "printf 'FROM small\nRUN exit 3\n' | DOCKER_BUILDKIT=0 docker build -").contains("non-zero code: 3")
    );
}

#[test]
fn commit() {
    let container = run("commit", "small sleep 1000");
    container.exec("echo committed > /srv/new");
    docker("commit commit committed");
    assert_eq!(docker("run --rm committed cat /srv/new"), "committed");
}

/// A second engine with state of its own.
fn engine(name: &str, options: &str) -> Finally {
    start();
    let dir = format!("/tmp/engine-{name}");
    let own = "--bridge docker0 --iptables=false --ip6tables=false --ip-forward=false";
    let configuration = repository("docs/engines/daemon.json");
    sh(&format!(
        "mkdir -p {dir} && systemd-run --quiet --unit engine-{name} --property KillMode=process --property Delegate=yes \
         dockerd --config-file {} --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid -H unix://{dir}/socket \
         --containerd-namespace {name} --containerd-plugins-namespace plugins-{name} {own} {options}",
        configuration.display()
    ));
    let stop = Finally(format!(
        "docker -H unix://{dir}/socket ps -q | xargs -r docker -H unix://{dir}/socket rm -f
         systemctl stop engine-{name}; systemctl reset-failed engine-{name}"
    ));
    wait_until("the engine answers", || {
        try_sh(&format!("docker -H unix://{dir}/socket import {} small", images::small())).status == 0
    });
    stop
}

#[test]
fn users_of_the_container_are_nobody_on_the_host() {
    let _engine = engine("remapped", "--userns-remap user");
    let docker = "docker -H unix:///tmp/engine-remapped/socket";
    sh(&format!("{docker} run -d --net none --name remapped small sleep 1000"));
    let pid = sh(&format!("{docker} inspect -f '{{{{.State.Pid}}}}' remapped"));
    assert_eq!(sh(&format!("stat -c %u /proc/{pid}")), "100000");
    assert_eq!(
        sh(&format!("{docker} exec remapped sh -c 'id -u; cat /proc/self/uid_map | tr -s \" \"'")),
        "0\n 0 100000 65536"
    );
    assert_eq!(sh(&format!("{docker} exec remapped sh -c 'touch /srv/x && stat -c %u /srv/x'")), "0");
    sh(&format!("{docker} rm -f remapped"));
}

#[test]
fn containers_survive_the_engine() {
    let _engine = engine("restarted", "--live-restore");
    let docker = "docker -H unix:///tmp/engine-restarted/socket";
    sh(&format!("{docker} run -d --net none --name survivor small sleep 1000"));
    let pid = sh(&format!("{docker} inspect -f '{{{{.State.Pid}}}}' survivor"));
    sh("systemctl kill -s KILL --kill-whom main engine-restarted");
    wait_until("the engine is gone", || try_sh("systemctl is-active engine-restarted").out != "active");
    assert_eq!(sh(&format!("cat /proc/{pid}/comm")), "sleep");
    drop(Finally("systemctl reset-failed engine-restarted".to_owned()));
    let _again = engine("restarted", "--live-restore");
    assert_eq!(
        sh(&format!("{docker} inspect -f '{{{{.State.Pid}}}} {{{{.State.Status}}}}' survivor")),
        format!("{pid} running")
    );
    assert_eq!(sh(&format!("{docker} exec survivor echo still here")), "still here");
    sh(&format!("{docker} rm -f survivor"));
}

/// Nothing is left when all is over.
#[test]
fn nothing_is_left_behind() {
    let container = named("left");
    docker("run --name left --hostname left small true");
    let id = container.inspect(".Id");
    drop(container);
    for place in ["/run/docker/runtime-runc/moby", "/run/containerd/io.containerd.runtime.v2.task/moby"] {
        assert!(!std::path::Path::new(place).join(&id).exists(), "{place}");
    }
    assert_eq!(
        sh(&format!(
            "find /sys/fs/cgroup -name '*{id}*'; systemctl list-units --all --plain --no-legend | grep {id} || true"
        )),
        ""
    );
    assert_eq!(sh(&format!("grep {id} /proc/self/mountinfo || true")), "");
}
