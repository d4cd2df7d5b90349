//! The table of checks. To add one, write its function in a file of this folder and add one entry to [`GROUPS`].

mod bare_metal;
mod compile;
mod demo;
mod deny;
mod firmware;
mod layering;
mod pages;

use crate::workspace::Workspace;

/// Every group, in the order in which they run: the quick and telling ones first.
pub(crate) const GROUPS: &[Group] = &[
    Group { name: "fmt", about: "Every source file is formatted as rustfmt.toml says.", run: compile::fmt },
    Group {
        name: "layering",
        about: "Crates, core's modules and their cryptography keep to the arrows of the design.",
        run: layering::check,
    },
    Group {
        name: "clippy",
        about: "The compiler and clippy have no warning, with every feature and core with none.",
        run: compile::clippy,
    },
    Group {
        name: "test",
        about: "Unit, integration, vector and documentation tests pass, core's with and without alloc.",
        run: compile::test,
    },
    Group {
        name: "docs",
        about: "The documentation builds without a warning: nothing undocumented, no broken link, also in Markdown.",
        run: compile::docs,
    },
    Group {
        name: "deny",
        about: "Dependencies are licensed as we allow, from the one registry, cryptography in one version each.",
        run: deny::check,
    },
    Group {
        name: "demo",
        about: "The release build's `hyphal demo` ends well: real nodes over real sockets.",
        run: demo::check,
    },
    Group {
        name: "bare-metal",
        about: "Core builds for Cortex-M0 and M4F: no std, no alloc, no compare-and-swap.",
        run: bare_metal::check,
    },
    Group {
        name: "firmware",
        about: "An image without a heap holds two nodes on an emulated Cortex-M3 with 64 KiB of memory.",
        run: firmware::check,
    },
];

/// Checks that run and are reported together.
pub(crate) struct Group {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// What is true when it passes, in one sentence.
    pub(crate) about: &'static str,
    /// The check.
    pub(crate) run: fn(&Workspace) -> Result<(), Failure>,
}

/// Why a group did not pass.
pub(crate) enum Failure {
    /// What it checks is not so.
    Failed(anyhow::Error),
    /// This machine lacks what the check needs, and it could not be installed.
    CannotRun(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
