//! The image in core/firmware, built for a Cortex-M3 and run on an emulated board of a real part's size.
//!
//! The image has no allocator, so linking it proves that the protocol needs none; that it also links for a Cortex-M0
//! proves that it needs no compare-and-swap. It checks itself, says what held, and reports success or failure through its
//! exit code.

use std::process::Command;
use std::time::Duration;

use crate::child::{run, run_within};
use crate::groups::Failure;
use crate::install::{BareMetalCompiler, qemu};
use crate::workspace::Workspace;

/// A workspace of its own, which the lints of the other one do not see.
const FOLDER: &str = "core/firmware";

/// The processor of the board.
const TARGET: &str = "thumbv7m-none-eabi";

/// A smaller one, for which the image is only linked.
const SMALLER_TARGET: &str = "thumbv6m-none-eabi";

/// 256 KiB of flash, 64 KiB of memory, a Cortex-M3 at 12.5 MHz.
const BOARD: &str = "lm3s6965evb";

/// Many times what the image takes; an image that hangs must not hang the checks.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let compiler = BareMetalCompiler::install(&[TARGET, SMALLER_TARGET])?;
    qemu()?;

    match compiler.clippy(workspace, FOLDER, TARGET)? {
        Some(mut clippy) => run(clippy.args(["--locked", "--release", "--", "-D", "warnings"]))?,
        None => println!("the image is not linted, because clippy comes with rustup's compiler only"),
    }
    for target in [SMALLER_TARGET, TARGET] {
        run(compiler.build(workspace, FOLDER, target).args(["--locked", "--release"]))?;
    }

    let image = workspace.bare_metal_target().join(TARGET).join("release/hyphal-firmware");
    let mut board = Command::new("qemu-system-arm");
    board.args(["-M", BOARD, "-nographic", "-monitor", "none", "-serial", "none", "-nic", "none"]);
    board.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(image);
    run_within(LIMIT, &mut board)?;
    Ok(())
}
