//! `run` on a host with many mounts.

use super::interleaved;
use crate::runtime::{Bundle, place};
use crate::{Bench, Done};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// How many more.
const MOUNTS: usize = 400;

/// Times `run` with so many mounts of the host's and without, right after each other.
#[expect(clippy::disallowed_methods, reason = "no path of a container")]
pub fn many_mounts(bench: &mut Bench) -> Done<()> {
    let runtimes = bench.plain("spec", true);
    let bundle = Bundle::of_slot("spec", 0);
    interleaved(bench, "run-few-mounts", "spec", bench.rounds, &runtimes, |it| it.make("run", &bundle))?;
    let above = place().join("mounts");
    for number in 0..MOUNTS {
        let place = above.join(number.to_string());
        std::fs::create_dir_all(&place)?;
        mount(Some(&place), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    let measured = interleaved(bench, "run-400-mounts", "spec", bench.rounds, &runtimes, |it| it.make("run", &bundle));
    for number in 0..MOUNTS {
        umount2(&above.join(number.to_string()), MntFlags::MNT_DETACH)?;
    }
    measured
}
