//! libFuzzer over one of the decoders of `src/testing/fuzz/mod.rs`, the one that `VWAL_FUZZ_TARGET` names. See `fuzz/run`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vwal::fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("VWAL_FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    }
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target is called {name:?}"))
});

fuzz_target!(init: LazyLock::force(&TARGET), |data: &[u8]| {
    (TARGET.run)(data);
});
