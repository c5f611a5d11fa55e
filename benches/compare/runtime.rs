//! A runtime under test and its command lines.

use crate::Done;
use crate::process::Command;
use std::path::{Path, PathBuf};

/// The place of everything: bundles, states, the floor's programs.
pub fn place() -> PathBuf {
    std::env::var_os("BENCH").map_or_else(|| "/bench".into(), PathBuf::from)
}

/// One of those that are compared.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Its name in the tables.
    pub name: String,
    /// Its path, in which `@` stands for the config, since the floor is compiled for one.
    program: String,
    /// `NAME=VALUE` for its environment.
    variable: Option<String>,
    /// A flag before the command.
    flag: Option<String>,
}

/// The bundle of a container; its directory and the container are called the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Which config it has.
    pub config: String,
    /// The id of its container.
    pub id: String,
}

impl Bundle {
    /// That of a container that runs `/bin/true`; those of different slots may run at the same time.
    pub fn of_slot(config: &str, slot: usize) -> Self {
        Self { config: config.into(), id: format!("{config}-{slot}") }
    }

    /// That of the runtime's container that stays.
    pub fn staying(config: &str, runtime: &Runtime) -> Self {
        Self { config: format!("{config}-stay"), id: format!("{config}-stay-{}", runtime.name) }
    }
}

impl Runtime {
    /// Reads `NAME=PROGRAM[,VARIABLE=VALUE]`.
    pub fn parse(argument: &str) -> Done<Self> {
        let (name, rest) =
            argument.split_once('=').ok_or_else(|| format!("{argument}: want NAME=PROGRAM[,VARIABLE=VALUE]"))?;
        let (program, variable) = match rest.split_once(',') {
            None => (rest, None),
            Some((program, variable)) => (program, Some(variable.to_owned())),
        };
        Ok(Self { name: name.into(), program: program.into(), variable, flag: None })
    }

    /// The same with a flag before each command.
    pub fn with_flag(self, flag: Option<&str>) -> Self {
        Self { flag: flag.map(str::to_owned), ..self }
    }

    /// Whether it is one of the others in another way, such as `onggi-memfd`.
    pub fn is_variant(&self) -> bool {
        self.name.contains('-')
    }

    /// Whether it is the floor, which knows few commands.
    pub fn is_floor(&self) -> bool {
        self.program.contains('@')
    }

    /// Where its program for `config` is.
    pub fn program(&self, config: &str) -> String {
        self.program.replace('@', config)
    }

    /// Whether it can run containers of that config.
    pub fn serves(&self, config: &str) -> bool {
        Path::new(&self.program(config)).exists()
    }

    /// The directory of its state.
    pub fn root(&self) -> String {
        format!("/run/bench-{}", self.name)
    }

    /// The command line for these words, such as `state ID`.
    pub fn command(&self, config: &str, words: &[&str]) -> Command {
        let program = self.program(config);
        let before = [program, "--root".into(), self.root()].into_iter().chain(self.flag.clone());
        let all = before.chain(words.iter().map(|it| (*it).to_owned()));
        let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()].into_iter().chain(self.variable.clone());
        Command { words: all.collect(), environment: environment.collect() }
    }

    /// `run` or `create` of `bundle`.
    pub fn make(&self, verb: &str, bundle: &Bundle) -> Command {
        let directory = place().join("bundles").join(&bundle.id);
        self.command(&bundle.config, &[verb, "--bundle", &directory.to_string_lossy(), &bundle.id])
    }

    /// Any other command about the container of `bundle`, with more words after its id.
    pub fn about(&self, verb: &str, bundle: &Bundle, more: &[&str]) -> Command {
        let words: Vec<&str> = [verb, bundle.id.as_str()].into_iter().chain(more.iter().copied()).collect();
        self.command(&bundle.config, &words)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let floor = Runtime::parse("floor=/floor/@").unwrap();
        assert!(floor.is_floor() && !floor.is_variant());
        let command = floor.about("exec", &Bundle::staying("spec", &floor), &["/bin/true"]);
        let expected = ["/floor/spec-stay", "--root", "/run/bench-floor", "exec", "spec-stay-floor", "/bin/true"];
        assert_eq!(command.words, expected);

        let sealed = Runtime::parse("onggi-memfd=/onggi,ONGGI_SEAL=memfd").unwrap();
        assert!(sealed.is_variant());
        let command = sealed.make("run", &Bundle::of_slot("docker", 3));
        assert_eq!(command.environment.last().unwrap(), "ONGGI_SEAL=memfd");
        assert_eq!(command.words.last().unwrap(), "docker-3");
        assert!(Runtime::parse("onggi").is_err());
    }
}
