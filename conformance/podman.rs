//! Podman with onggi as its runtime, as root and as an unprivileged user, and Buildah, which makes its images.

use crate::images;
use crate::machine::{Finally, fails, repository, sh, try_sh, wait_until};
use std::sync::OnceLock;

/// Who calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Root,
    User,
}

use Caller::{Root, User};

impl Caller {
    /// Configures Podman with the file of docs/engines.md, once, and makes the image `small` for this caller.
    fn prepare(self) {
        static FILES: OnceLock<()> = OnceLock::new();
        static ROOT: OnceLock<()> = OnceLock::new();
        static USER: OnceLock<()> = OnceLock::new();
        FILES.get_or_init(|| {
            let configuration = repository("docs/engines/containers.conf");
            sh(&format!("install -D -m 0644 {} /etc/containers/containers.conf", configuration.display()));
        });
        (if self == Root { &ROOT } else { &USER }).get_or_init(|| {
            self.sh(&format!("podman import {} small", images::small()));
        });
    }

    fn script(self, script: &str) -> String {
        match self {
            Root => script.to_owned(),
            User => {
                let quoted = script.replace('\'', "'\\''");
                format!(
                    "cd /; exec runuser -u user -- env HOME=/home/user XDG_RUNTIME_DIR=/run/user/1000 \
                         DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus bash -o pipefail -ec '{quoted}'"
                )
            }
        }
    }

    #[track_caller]
    fn sh(self, script: &str) -> String {
        sh(&self.script(script))
    }

    #[track_caller]
    fn fails(self, status: i32, script: &str) -> String {
        fails(status, &self.script(script))
    }

    /// Removes the container or pod in the end.
    fn finally(self, script: &str) -> Finally {
        Finally(self.script(script))
    }
}

fn both(test: fn(Caller)) {
    for caller in [Root, User] {
        caller.prepare();
        test(caller);
    }
}

#[test]
fn run() {
    both(|caller| {
        assert_eq!(caller.sh("podman info --format '{{.Host.OCIRuntime.Name}}'"), "onggi");
        assert_eq!(caller.sh("podman run --rm small echo hello"), "hello");
        assert_eq!(caller.sh("echo typed | podman run --rm -i small cat"), "typed");
        caller.fails(7, "podman run --rm small sh -c 'exit 7'");
        caller.fails(127, "podman run --rm small /nonexistent");
        caller.fails(126, "podman run --rm small /etc/passwd");
        assert_eq!(caller.sh("podman ps -aq"), "");
    });
}

#[test]
fn exec_logs_stop() {
    both(|caller| {
        let _container = caller.finally("podman rm -f -t 0 life");
        caller.sh("podman run -d --name life small sh -c 'echo up; exec sleep 1000'");
        assert_eq!(caller.sh("podman exec life cat /srv/index.html"), "hello");
        assert_eq!(caller.sh("echo piped | podman exec -i life cat"), "piped");
        caller.fails(9, "podman exec life sh -c 'exit 9'");
        let shown = caller.sh("script -qec 'podman exec -it life tty' /dev/null");
        assert!(shown.contains("/dev/pts/"), "{shown}");
        assert_eq!(caller.sh("podman logs life"), "up");
        assert!(caller.sh("podman top life args").contains("sleep 1000"));
        caller.sh("podman pause life; podman unpause life");
        caller.sh("podman stop -t 0 life");
        assert_eq!(caller.sh("podman inspect -f '{{.State.ExitCode}}' life"), "137");
        caller.sh("podman start life");
        assert_eq!(caller.sh("podman exec life echo again"), "again");
    });
}

#[test]
fn limits() {
    both(|caller| {
        let _container = caller.finally("podman rm -f -t 0 limits");
        caller.sh("podman run -d --name limits -m 64m --pids-limit 20 --cpus 0.5 small sleep 1000");
        let files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max";
        assert_eq!(caller.sh(&format!("podman exec limits cat {files}")), "67108864\n20\n50000 100000");
        caller.sh("podman update --memory 96m limits");
        assert_eq!(caller.sh("podman exec limits cat /sys/fs/cgroup/memory.max"), "100663296");
        let stats = caller.sh("podman stats --no-stream --format '{{.MemUsage}}' limits");
        assert!(stats.contains("100.7MB"), "{stats}");
    });
}

#[test]
fn pods() {
    both(|caller| {
        let _pod = caller.finally("podman pod rm -f -t 0 pod");
        let pause = if caller == Root { "" } else { "--network none" };
        caller.sh(&format!("podman pod create --name pod --share ipc,net,uts --hostname together {pause}"));
        caller.sh("podman run -d --pod pod --name one small httpd -f -p 8081 -h /srv");
        let fetch = "podman run --rm --pod pod small sh -c 'hostname; wget -qO- http://127.0.0.1:8081/index.html'";
        wait_until("the page", || try_sh(&caller.script(fetch)).out == "together\nhello");
        caller.sh("podman pod stop -t 0 pod");
        assert_eq!(caller.sh("podman pod inspect -f '{{.State}}' pod"), "Exited");
    });
}

#[test]
fn play_kube() {
    both(|caller| {
        let _pod = caller.finally("podman kube down /tmp/pod.yaml");
        std::fs::write(
            "/tmp/pod.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: played\nspec:\n  hostNetwork: true\n  restartPolicy: Never\n  \
             containers:\n  - name: main\n    image: localhost/small\n    imagePullPolicy: Never\n    \
             command: [sh, -c, 'echo $WORD; sleep 1000']\n    env:\n    - name: WORD\n      value: played\n    \
             resources:\n      limits:\n        memory: 64Mi\n    securityContext:\n      readOnlyRootFilesystem: true\n",
        )
        .unwrap();
        caller.sh("podman kube play /tmp/pod.yaml");
        wait_until("it speaks", || caller.sh("podman logs played-main") == "played");
        assert_eq!(caller.sh("podman exec played-main cat /sys/fs/cgroup/memory.max"), "67108864");
        caller.fails(1, "podman exec played-main touch /srv/x");
    });
}

#[test]
fn health_is_probed() {
    both(|caller| {
        let _container = caller.finally("podman rm -f -t 0 health");
        caller.sh("podman run -d --name health --health-cmd 'test -e /tmp/well' --health-retries 1 --health-interval disable small sleep 1000");
        caller.fails(1, "podman healthcheck run health");
        caller.sh("podman exec health touch /tmp/well; podman healthcheck run health");
    });
}

#[test]
fn modes_of_cgroups() {
    both(|caller| {
        for mode in ["enabled", "disabled", "no-conmon", "split"] {
            let own = if mode == "split" { "systemd-run --scope --quiet -p Delegate=yes " } else { "" };
            let own = if mode == "split" && caller == User {
                "systemd-run --user --scope --quiet -p Delegate=yes "
            } else {
                own
            };
            let seen = caller.sh(&format!("{own}podman run --rm --cgroups {mode} small cat /proc/self/cgroup"));
            assert!(seen.starts_with("0::/"), "{mode}: {seen}");
        }
        assert_eq!(caller.sh("podman --cgroup-manager cgroupfs run --rm small echo by hand"), "by hand");
    });
}

#[test]
fn users_of_the_container() {
    User.prepare();
    Root.prepare();
    assert_eq!(User.sh("podman run --rm --userns keep-id small id -u"), "1000");
    assert_eq!(User.sh("podman run --rm --userns nomap small id -u"), "0");
    assert_eq!(User.sh("podman run --rm -v /home/user:/mine small stat -c %u /mine"), "0");
    sh("grep -q ^containers: /etc/subuid || echo containers:1000000:1000000 | tee -a /etc/subuid >> /etc/subgid");
    let maps = Root.sh("podman run --rm --userns auto small cat /proc/self/uid_map");
    assert!(maps.split_whitespace().nth(1).is_some_and(|id| id.parse::<u32>().unwrap() >= 1_000_000), "{maps}");
    assert_eq!(Root.sh("podman run --rm --uidmap 0:200000:1000 small sh -c 'touch /srv/x; stat -c %u /srv/x'"), "0");
}

#[test]
fn systemd_in_a_container() {
    Root.prepare();
    let _container = Root.finally("podman rm -f -t 0 booted");
    Root.sh("podman run -d --name booted --systemd always --net none --rootfs /:O /sbin/init");
    wait_until("it has booted", || {
        let state = try_sh("podman exec booted systemctl is-system-running").out;
        state == "running" || state == "degraded"
    });
    assert_eq!(Root.sh("podman exec booted systemctl is-active dbus"), "active");
    Root.sh("podman stop -t 60 booted");
}

#[test]
fn build() {
    both(|caller| {
        let file = "printf 'FROM small\nRUN echo built > /srv/file\nUSER www\nCMD cat /srv/file\n' > Containerfile";
        for tool in ["podman build", "buildah bud --runtime /usr/local/bin/onggi"] {
            caller.sh(&format!("cd $(mktemp -d) && {file} && {tool} -q --isolation oci -t built . > /dev/null"));
            assert_eq!(caller.sh("podman run --rm built"), "built");
            caller.sh("podman rmi -f built");
        }
        let run = "buildah run --runtime /usr/local/bin/onggi --isolation oci";
        let said = caller.sh(&format!(
            "name=$(buildah from small); {run} $name -- sh -c 'echo in buildah; id -u'; buildah rm $name > /dev/null"
        ));
        assert_eq!(said, "in buildah\n0");
    });
}
