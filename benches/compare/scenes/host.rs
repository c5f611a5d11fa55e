//! `run` on a host with many mounts.

use super::{Case, in_turns};
use crate::runtime::{Bundle, place};
use crate::{Bench, Done};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chroot, fchdir};
use std::fs::File;

/// How many more.
const MOUNTS: usize = 400;

/// Without them, and with them.
const FEW: &str = "run-few-mounts";
const MANY: &str = "run-400-mounts";

/// Times `run` with so many mounts of the host's and without, in turns.
pub fn many_mounts(bench: &mut Bench) -> Done<()> {
    let runtimes = bench.plain("spec", true);
    let bundle = Bundle::of_slot("spec", 0);
    let of = |what| runtimes.iter().map(move |runtime| (what, runtime));
    let cases = of(FEW).chain(of(MANY));
    let cases = cases.map(|(what, runtime)| Case { what, runtime, command: runtime.make("run", &bundle) });
    let cases: Vec<Case> = cases.collect();

    let few = Host::ours()?;
    let many = Host::with_mounts()?;
    let measured = in_turns(bench, "spec", bench.results.rounds, &cases, |case| {
        if case.what == FEW { few.enter() } else { many.enter() }
    });
    few.enter()?;
    measured
}

/// A mount namespace, with the directory in it that is our root.
struct Host {
    namespace: File,
    root: File,
}

impl Host {
    fn ours() -> Done<Self> {
        Ok(Self { namespace: File::open("/proc/self/ns/mnt")?, root: File::open("/")? })
    }

    /// Enters a copy of ours, which has so many mounts more.
    #[expect(clippy::disallowed_methods, reason = "no path of a container")]
    fn with_mounts() -> Done<Self> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        for number in 0..MOUNTS {
            let place = place().join("mounts").join(number.to_string());
            std::fs::create_dir_all(&place)?;
            mount(Some(&place), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Self::ours()
    }

    fn enter(&self) -> Done<()> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNS)?;
        // That went to the root of the namespace.
        fchdir(&self.root)?;
        Ok(chroot(".")?)
    }
}
