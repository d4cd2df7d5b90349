//! Core compiled for processors without an operating system: the proof of `no_std` and of needing no `alloc`.
//!
//! thumbv6m (Cortex-M0) also has no compare-and-swap, which no dependency may need. With Debian's compiler only `core`
//! is built, so a stray `alloc` is an unknown crate; with rustup's, the firmware's link without an allocator finds it.

use crate::child::run;
use crate::groups::Failure;
use crate::install::BareMetalCompiler;
use crate::workspace::Workspace;

const TARGETS: [&str; 2] = ["thumbv6m-none-eabi", "thumbv7em-none-eabihf"];

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let compiler = BareMetalCompiler::install(&TARGETS)?;
    for target in TARGETS {
        let mut build = compiler.build(workspace, ".", target);
        run(build.args(["--locked", "--release", "--package", "hyphal-core"]))?;
    }
    println!("hyphal-core compiles without std and alloc for {}", TARGETS.join(" and "));
    Ok(())
}
