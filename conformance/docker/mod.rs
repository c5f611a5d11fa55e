//! Docker Engine with onggi as its only runtime: what a beginner's guide to Docker promises.

mod containers;
mod engine;
mod limits;
mod security;

use crate::images;
use crate::machine::{Finally, repository, sh, wait_until};
use std::sync::OnceLock;

/// Starts the engine with the configuration of docs/engines.md, once, and makes the image `small`.
pub fn start() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let configuration = repository("docs/engines/daemon.json");
        sh(&format!("install -D -m 0644 {} /etc/docker/daemon.json", configuration.display()));
        sh("systemctl start docker");
        sh(&format!("docker import {} small", images::small()));
    });
}

/// `docker ARGUMENTS`, which is to succeed.
#[track_caller]
pub fn docker(arguments: &str) -> String {
    sh(&format!("docker {arguments}"))
}

/// A container in the background, which is removed in the end.
#[derive(Debug)]
pub struct Container {
    pub name: String,
    _finally: Finally,
}

/// `docker run -d --name NAME ARGUMENTS`.
#[track_caller]
pub fn run(name: &str, arguments: &str) -> Container {
    start();
    let container = named(name);
    docker(&format!("run -d --name {name} {arguments}"));
    container
}

/// A container that the test makes itself.
pub fn named(name: &str) -> Container {
    start();
    Container { name: name.to_owned(), _finally: Finally(format!("docker rm -f {name}")) }
}

impl Container {
    /// Runs a script in it.
    #[track_caller]
    pub fn exec(&self, script: &str) -> String {
        docker(&format!("exec {} sh -c '{script}'", self.name))
    }

    /// A value of `docker inspect`.
    #[track_caller]
    pub fn inspect(&self, template: &str) -> String {
        docker(&format!("inspect --format '{{{{{template}}}}}' {}", self.name))
    }

    #[track_caller]
    pub fn wait_for_status(&self, status: &str) {
        wait_until(&format!("{} is {status}", self.name), || self.inspect(".State.Status") == status);
    }
}
