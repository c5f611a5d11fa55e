//! Feeds profiles to the seccomp compiler: it must refuse them or make a program that the kernel takes and that does what
//! the profile says.
//!
//! `cargo +nightly fuzz run seccomp` (cargo-fuzz), with Docker's profile and others in `fuzz/corpus/seccomp` to start from.
//! Without nightly `cargo run --manifest-path fuzz/Cargo.toml` fuzzes as well, but blindly.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use oci_spec::runtime::LinuxSeccomp;
use onggi::seccomp::check::{Data, Semantics, arguments, boundaries, is_well_formed, run};
use onggi::seccomp::plan;

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(spec) = serde_json::from_slice::<LinuxSeccomp>(text) else { return Corpus::Reject };
    let Ok(filter) = plan(&spec, &mut Vec::new()) else { return Corpus::Keep };
    assert!(is_well_formed(filter.program()));
    let semantics = Semantics::of(&spec);
    let values: Vec<_> = (0..6).map(|index| boundaries(&spec, index)).collect();
    for arch in semantics.archs() {
        for number in semantics.numbers(arch).into_iter().step_by(7).chain([u32::MAX]) {
            let values = if semantics.looks_at_arguments(arch, number) { &values[..] } else { &[] };
            for args in arguments(values).take(100) {
                let data = Data { number, arch, args };
                let little_endian = cfg!(target_endian = "little");
                let found = run(filter.program(), data, little_endian).0;
                assert_eq!(found, semantics.expected(data).returns, "{data:x?}");
            }
        }
    }
    Corpus::Keep
});
