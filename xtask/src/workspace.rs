//! Where the workspace and its one target folder are, and how cargo is started in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::child;

/// The workspace this tool belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
    metadata: Metadata,
}

/// What the checks read of `cargo metadata`.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// The folder that all builds share.
    pub(crate) target_directory: PathBuf,
    /// Every package of the lock file that is in use.
    pub(crate) packages: Vec<Package>,
    /// Ids of the workspace's own packages.
    pub(crate) workspace_members: Vec<String>,
    /// Who uses whom, with every feature on.
    pub(crate) resolve: Resolve,
}

/// A package, of the workspace or from a registry.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Name, version and source in one opaque word.
    pub(crate) id: String,
    /// The name in its Cargo.toml.
    pub(crate) name: String,
    /// The dependencies that its Cargo.toml declares.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency as declared.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// The name of the package that is meant.
    pub(crate) name: String,
}

/// The resolved graph.
#[derive(Deserialize)]
pub(crate) struct Resolve {
    /// One node per package.
    pub(crate) nodes: Vec<ResolveNode>,
}

/// A package in the resolved graph.
#[derive(Deserialize)]
pub(crate) struct ResolveNode {
    /// The package's id.
    pub(crate) id: String,
    /// Its edges.
    pub(crate) deps: Vec<ResolveEdge>,
}

/// An edge of the resolved graph.
#[derive(Deserialize)]
pub(crate) struct ResolveEdge {
    /// The id of the package that is used.
    pub(crate) pkg: String,
    /// In which builds it is used.
    pub(crate) dep_kinds: Vec<DependencyKind>,
}

/// In which build an edge exists.
#[derive(Deserialize)]
pub(crate) struct DependencyKind {
    /// `None` for the package itself, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Workspace {
    /// Finds the workspace of this tool and reads its metadata.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask has no parent folder")?.to_owned();
        let json = child::output(cargo_in(&root).args([
            "metadata",
            "--format-version=1",
            "--all-features",
            "--locked",
        ]))?;
        let metadata = serde_json::from_slice(&json).context("cannot read what cargo metadata prints")?;
        Ok(Self { root, metadata })
    }

    /// The folder of the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What cargo knows of the workspace.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Cargo, started in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        cargo_in(&self.root)
    }

    /// Cargo, started in `folder` below the root, with its artefacts still in the workspace's target folder.
    ///
    /// They get a subfolder there, because another compiler and other flags may be in use.
    pub(crate) fn cargo_bare_metal(&self, folder: &str) -> Command {
        let mut cargo = cargo_in(&self.root.join(folder));
        cargo.env("CARGO_TARGET_DIR", self.bare_metal_target());
        cargo
    }

    /// Where [`cargo_bare_metal`](Self::cargo_bare_metal) leaves its artefacts.
    pub(crate) fn bare_metal_target(&self) -> PathBuf {
        self.metadata.target_directory.join("bare-metal")
    }
}

/// The cargo that started us, without the variables it describes this package with: build scripts that watch them
/// would run again in each build.
fn cargo_in(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&key);
        }
    }
    cargo
}
