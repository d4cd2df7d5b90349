//! An image for a Cortex-M3 that checks Hyphal's core where it is meant to run.
//!
//! It has no allocator and no operating system, so that it links at all proves that core needs neither. It runs its
//! checks, prints one line each over semihosting and ends the emulator with success or failure. It is a test, not an
//! example of a product's firmware: semihosting stops the processor at every line.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod bodies;
mod compression;
mod pair;
mod values;

use core::panic::PanicInfo;

use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;

/// The checks in the order in which they run. A new one is a file with a function and a line here.
const CHECKS: &[Check] = &[
    Check {
        claim: "ids and priorities keep their values",
        holds: values::ids_and_priorities_keep_their_values,
    },
    Check { claim: "times saturate at both ends", holds: values::times_saturate_at_both_ends },
    Check {
        claim: "reason codes lead back to their reasons",
        holds: values::reason_codes_lead_back_to_their_reasons,
    },
    Check {
        claim: "two nodes prove who they are and exchange acknowledged messages",
        holds: pair::two_nodes_exchange_acknowledged_messages,
    },
    Check {
        claim: "a compressed payload comes back without a heap",
        holds: compression::a_compressed_payload_comes_back,
    },
    Check {
        claim: "a body comes back and a newer one is told",
        holds: bodies::a_body_comes_back_and_a_newer_one_is_told,
    },
    Check { claim: "a stranger is refused", holds: pair::a_stranger_is_refused },
];

/// A claim about core and the function that tries it; `Err` says what was not so.
struct Check {
    claim: &'static str,
    holds: fn() -> Result<(), &'static str>,
}

/// The check goes on only if `holds`.
fn require(holds: bool, else_this: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(else_this) }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    hprintln!("hyphal-firmware: {} checks without heap or operating system", CHECKS.len());
    let mut broken = 0;
    for check in CHECKS {
        match (check.holds)() {
            Ok(()) => hprintln!("holds: {}", check.claim),
            Err(why) => {
                broken += 1;
                hprintln!("BROKEN: {}: {}", check.claim, why);
            }
        }
    }
    hprintln!("hyphal-firmware: {} of {} claims hold", CHECKS.len() - broken, CHECKS.len());
    end(broken == 0)
}

/// A fault of the processor would otherwise spin until the emulator's time limit.
#[cortex_m_rt::exception]
#[allow(unsafe_code, reason = "the runtime asks for this signature: it is what the processor calls")]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    hprintln!("hyphal-firmware: hard fault {:?}", frame);
    end(false)
}

#[panic_handler]
fn panic(panic: &PanicInfo<'_>) -> ! {
    hprintln!("hyphal-firmware: {}", panic);
    end(false)
}

/// Ends the emulator; a board with no debugger attached stays here.
fn end(success: bool) -> ! {
    exit(if success { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}
