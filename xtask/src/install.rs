//! What the checks need beside cargo, and how it gets onto a machine that lacks it.
//!
//! Invariant: nothing is installed without a line before it that says what and why. Tools of our own choosing go into
//! the user's cache folder, so that a fresh clone on the same machine does not build them again.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::child::{run, succeeds};
use crate::groups::Failure;
use crate::workspace::Workspace;

const CARGO_DENY_VERSION: &str = "0.20.2";

/// The path of cargo-deny, which is built once per user.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let home = cache_folder()?.join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let program = home.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if program.exists() {
        return Ok(program);
    }

    println!(
        "installing cargo-deny {CARGO_DENY_VERSION} into {}: it checks the licences, versions and sources of what we \
         depend on (about two minutes, once)",
        home.display()
    );
    let mut install = workspace.cargo();
    // It reads a lock file for a second: what counts is how soon it is built.
    install.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    install.args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY_VERSION, "--root"]).arg(&home);
    run(&mut install)
        .map_err(|error| Failure::CannotRun(format!("cargo-deny cannot be installed: {error:#}")))?;
    Ok(program)
}

/// Makes sure that cargo has the subcommand of a component of rustup, which a minimal toolchain lacks.
pub(crate) fn component(workspace: &Workspace, name: &str, subcommand: &str) -> Result<(), Failure> {
    let is_there = || succeeds(workspace.cargo().args([subcommand, "--version"]));
    if is_there() {
        return Ok(());
    }
    println!("installing rustup's {name}: cargo {subcommand} is one of the checks");
    let added = run(Command::new("rustup").args(["component", "add", name]));
    match added {
        Ok(()) if is_there() => Ok(()),
        Ok(()) => Err(Failure::CannotRun(format!("rustup has {name}, but cargo {subcommand} does not run"))),
        Err(error) => Err(Failure::CannotRun(format!(
            "cargo {subcommand}: please install {name} for this compiler; {error:#}"
        ))),
    }
}

/// Makes sure that QEMU's ARM boards are here.
pub(crate) fn qemu() -> Result<(), Failure> {
    if succeeds(Command::new("qemu-system-arm").arg("--version")) {
        return Ok(());
    }
    debian_packages(&["qemu-system-arm"], "it runs the firmware on an emulated board")
}

/// A compiler for processors without an operating system.
pub(crate) enum BareMetalCompiler {
    /// rustup's own, with the targets' precompiled `core`.
    Rustup,
    /// Debian's rustc with the sources it was built from: `core` is compiled along, and nothing else of the library.
    Debian,
}

impl BareMetalCompiler {
    /// Finds or installs a compiler for all of `targets`: rustup's where it can be had, else Debian's.
    pub(crate) fn install(targets: &[&str]) -> Result<Self, Failure> {
        let missing: Vec<_> = targets.iter().copied().filter(|target| !is_added(target)).collect();
        if missing.is_empty() {
            return Ok(Self::Rustup);
        }
        println!("installing rustup's {}: the core is compiled for bare metal", missing.join(" and "));
        if run(Command::new("rustup").args(["target", "add"]).args(&missing)).is_ok() {
            return Ok(Self::Rustup);
        }

        println!("rustup cannot add them here; Debian's compiler does as well");
        let complete = Path::new(DEBIAN_RUSTC).exists()
            && Path::new(DEBIAN_RUST_SOURCES).exists()
            && succeeds(Command::new(DEBIAN_LINKER).arg("--version"));
        if !complete {
            debian_packages(
                &["rustc-web", "rust-web-src", "binutils-arm-none-eabi"],
                "the compiler, its library's sources and a linker for bare metal",
            )?;
        }
        Ok(Self::Debian)
    }

    /// `cargo build` for `target` in `folder` below the workspace's root.
    pub(crate) fn build(&self, workspace: &Workspace, folder: &str, target: &str) -> Command {
        self.cargo(workspace, "build", folder, target)
    }

    /// `cargo clippy` likewise; `None` for Debian's compiler, of which clippy is no part.
    pub(crate) fn clippy(
        &self,
        workspace: &Workspace,
        folder: &str,
        target: &str,
    ) -> Result<Option<Command>, Failure> {
        match self {
            Self::Rustup => {
                component(workspace, "clippy", "clippy")?;
                Ok(Some(self.cargo(workspace, "clippy", folder, target)))
            }
            Self::Debian => Ok(None),
        }
    }

    fn cargo(&self, workspace: &Workspace, verb: &str, folder: &str, target: &str) -> Command {
        let mut cargo = workspace.cargo_bare_metal(folder);
        cargo.args([verb, "--target", target]);
        if let Self::Debian = self {
            // Building `core` is an unstable option of cargo; the variable lets a stable compiler take it.
            cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
            let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
            cargo.env(linker, DEBIAN_LINKER);
        }
        cargo
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_RUST_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/core/Cargo.toml";
const DEBIAN_LINKER: &str = "arm-none-eabi-ld";

/// Whether rustup's compiler already has `target`.
fn is_added(target: &str) -> bool {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == target))
}

/// Installs packages where there is apt and the right to use it without a question; else the check cannot run.
fn debian_packages(packages: &[&str], purpose: &str) -> Result<(), Failure> {
    let names = packages.join(" ");
    let wanted = format!("{purpose}: please install {names} (or what they are called on this system)");
    if !succeeds(Command::new("apt-get").arg("--version")) {
        return Err(Failure::CannotRun(format!("{wanted}; there is no apt-get here")));
    }
    let is_root = succeeds(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    if !is_root && !succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Err(Failure::CannotRun(format!("{wanted}; apt-get needs root here")));
    }

    println!("installing Debian's {names}: {purpose}");
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new(if is_root { "apt-get" } else { "sudo" });
        if !is_root {
            apt.args(["-n", "apt-get"]);
        }
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        run(&mut apt)
    };
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat();
    apt(&["update", "--quiet"])
        .and_then(|()| apt(&install))
        .map_err(|error| Failure::CannotRun(format!("{wanted}; {error:#}")))
}

/// The user's cache folder for our tools, outside the clone.
fn cache_folder() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor a home folder is known")?.join("hyphal-tools"))
}
