//! Holds the arrows of the design: who may know whom, for crates and for the modules of core.
//!
//! The three tables below are the rule; everything else here only reads the sources and compares. A new crate or module
//! must get a line, so that someone has thought about where it stands.

mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::groups::Failure;
use crate::workspace::{Metadata, Workspace};

/// Which of our crates each of our crates may use, in whichever kind of build.
const CRATES: &[Arrow] = &[
    ("hyphal-core", &[]),
    ("hyphal", &["hyphal-core"]),
    ("hyphal-embassy", &["hyphal-core"]),
    ("hyphal-ffi", &["hyphal"]),
    ("hyphal-python", &["hyphal-ffi"]),
    ("hyphal-mobile", &["hyphal-ffi"]),
    ("hyphal-lab", &["hyphal-core", "hyphal"]),
    ("hyphal-fuzz", &["hyphal-core", "hyphal-lab"]),
    ("xtask", &[]),
];

/// What core may not even reach through others: the outside world and its sources of time and randomness. (`libc` is
/// not among them: ciphers ask it on some processors what the processor can.)
const OUTSIDE_WORLD: &[&str] = &[
    "async-std",
    "embassy-executor",
    "embassy-net",
    "embassy-time",
    "getrandom",
    "rand",
    "rustix",
    "smol",
    "tokio",
];

/// Which modules of core each module may use, beside the vocabulary that all share.
///
/// Leaves have nothing here and so do not know each other. `wire` knows of the cipher how long its tag is. `session` names
/// the cipher's trait and the own identity only to hand them on to `handshake` and `record`.
const MODULES: &[Arrow] = &[
    ("ids", &[]),
    ("time", &[]),
    ("wire", &["aead"]),
    ("aead", &[]),
    ("identity", &[]),
    ("noise", &["aead"]),
    ("profile", &["aead"]),
    ("trust", &["identity"]),
    ("handshake", &["noise", "identity", "profile", "aead", "trust"]),
    ("record", &["noise", "aead"]),
    ("outbox", &[]),
    ("family", &[]),
    ("filter", &[]),
    ("lane", &[]),
    ("compress", &[]),
    ("seal", &["noise", "aead"]),
    ("sign", &["identity"]),
    ("full", &[]),
    ("gate", &["noise", "session"]),
    ("session", &["handshake", "profile", "record", "outbox", "identity", "aead"]),
    ("assembly", &["session"]),
    ("health", &[]),
    ("breaker", &[]),
    ("backoff", &[]),
    ("recovery", &[]),
    ("node", &["trust", "session", "outbox", "health", "breaker", "backoff", "recovery"]),
];

/// The words all modules share; among these, `wire` may use the other two and they nothing.
const VOCABULARY: &[&str] = &["ids", "time", "wire"];

/// Which modules of core may use which cryptography: only these ever hold a key.
const CRYPTOGRAPHY: &[Arrow] = &[
    ("chacha20poly1305", &["aead"]),
    ("curve25519_dalek", &["noise", "identity"]),
    ("ed25519_dalek", &["identity"]),
    ("hmac", &["noise"]),
    ("sha2", &["noise", "identity", "handshake", "sign", "wire"]),
    ("zeroize", &["aead", "noise", "identity", "handshake", "record", "seal"]),
];

/// A name and those it points to.
type Arrow = (&'static str, &'static [&'static str]);

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let sources = core_sources(&workspace.root().join("core/src"))?;
    let mut broken = broken_crate_arrows(workspace.metadata());
    broken.extend(outside_world_reached_by_core(workspace.metadata())?);
    for source in &sources {
        broken.extend(broken_module_arrows(source));
    }

    if !broken.is_empty() {
        for line in &broken {
            println!("forbidden: {line}");
        }
        return Err(anyhow!("{} forbidden arrows", broken.len()).into());
    }
    let crates = workspace.metadata().workspace_members.len();
    println!("{crates} crates and {} source files of core keep to the arrows", sources.len());
    Ok(())
}

fn broken_crate_arrows(metadata: &Metadata) -> Vec<String> {
    let members = metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
    let members: Vec<_> = members.collect();
    let ours: BTreeSet<_> = members.iter().map(|member| member.name.as_str()).collect();

    let mut broken = Vec::new();
    for member in members {
        let Some(allowed) = targets_of(CRATES, &member.name) else {
            broken.push(format!("crate {} has no line in the table of crates", member.name));
            continue;
        };
        let used = member.dependencies.iter().map(|dependency| dependency.name.as_str());
        for used in used.filter(|name| ours.contains(name) && !allowed.contains(name)) {
            broken.push(format!("crate {} -> {used}", member.name));
        }
    }
    broken
}

fn outside_world_reached_by_core(metadata: &Metadata) -> Result<Vec<String>> {
    let names: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, &package.name)).collect();
    let edges: BTreeMap<_, _> = metadata.resolve.nodes.iter().map(|node| (&node.id, &node.deps)).collect();
    let core = metadata.packages.iter().find(|package| package.name == "hyphal-core");

    let mut reached = BTreeSet::new();
    let mut ahead = vec![&core.context("hyphal-core is not in the workspace")?.id];
    while let Some(id) = ahead.pop() {
        let linked = edges.get(id).into_iter().flat_map(|edges| edges.iter());
        let linked = linked.filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        ahead.extend(linked.map(|edge| &edge.pkg).filter(|id| reached.insert(*id)));
    }

    let reached = reached.iter().filter_map(|id| names.get(id)).map(|name| name.as_str());
    let outside = reached.filter(|name| OUTSIDE_WORLD.contains(name));
    Ok(outside.map(|name| format!("crate hyphal-core reaches {name}")).collect())
}

/// A source file of core: its module, from the crate's root, and its text.
struct Source {
    module: Vec<String>,
    text: String,
}

fn broken_module_arrows(source: &Source) -> Vec<String> {
    let Some(own) = source.module.first() else { return Vec::new() };
    let Some(allowed) = targets_of(MODULES, own) else {
        return vec![format!("module {own} of core has no line in the table of modules")];
    };

    let here = source.module.join("::");
    let mut broken = Vec::new();
    for (line, used) in paths::modules_used(&source.module, &source.text) {
        let is_module = targets_of(MODULES, &used).is_some();
        let shared =
            VOCABULARY.contains(&used.as_str()) && (!VOCABULARY.contains(&own.as_str()) || own == "wire");
        if is_module && used != *own && !shared && !allowed.contains(&used.as_str()) {
            broken.push(format!("{here} -> {used} (line {line})"));
        }
    }
    for (line, used) in paths::roots_used(&source.text) {
        if targets_of(CRYPTOGRAPHY, &used).is_some_and(|users| !users.contains(&own.as_str())) {
            broken.push(format!("{here} -> crate {used} (line {line})"));
        }
    }
    broken
}

fn targets_of(table: &[Arrow], name: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

/// Every source file below `root`; the crate's root, which names all modules, has an empty module path.
fn core_sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                sources.push(Source { module: module_of(root, &path), text });
            }
        }
    }
    Ok(sources)
}

fn module_of(root: &Path, file: &Path) -> Vec<String> {
    let relative: PathBuf = file.strip_prefix(root).unwrap_or(file).with_extension("");
    let mut module: Vec<_> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|name| name == "mod" || (name == "lib" && module.len() == 1)) {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(module: &str, text: &str) -> Source {
        Source { module: module.split("::").map(str::to_owned).collect(), text: text.to_owned() }
    }

    #[test]
    fn an_arrow_in_the_table_is_allowed() {
        let broken = broken_module_arrows(&source("session::up", "use crate::outbox::{Outbox, Storage};"));

        assert_eq!(broken, [""; 0]);
    }

    #[test]
    fn an_arrow_against_the_layers_is_named_with_its_line() {
        let broken = broken_module_arrows(&source("outbox", "//! A queue.\nuse crate::session::Session;"));

        assert_eq!(broken, ["outbox -> session (line 2)"]);
    }

    #[test]
    fn leaves_do_not_know_each_other() {
        let broken =
            broken_module_arrows(&source("breaker", "fn pace(backoff: &crate::backoff::Backoff) {}"));

        assert_eq!(broken, ["breaker -> backoff (line 1)"]);
    }

    #[test]
    fn the_vocabulary_does_not_know_what_is_built_from_it() {
        let broken = broken_module_arrows(&source("ids", "use crate::wire::varint;"));

        assert_eq!(broken, ["ids -> wire (line 1)"]);
    }

    #[test]
    fn a_module_that_holds_no_keys_does_not_use_a_cipher() {
        let broken = broken_module_arrows(&source("session", "use chacha20poly1305::ChaCha20Poly1305;"));

        assert_eq!(broken, ["session -> crate chacha20poly1305 (line 1)"]);
    }

    #[test]
    fn a_module_without_a_line_in_the_table_is_refused() {
        let broken = broken_module_arrows(&source("gossip", ""));

        assert_eq!(broken, ["module gossip of core has no line in the table of modules"]);
    }

    #[test]
    fn files_are_named_by_their_module() {
        let root = Path::new("/c/src");

        assert_eq!(module_of(root, Path::new("/c/src/lib.rs")), [""; 0]);
        assert_eq!(module_of(root, Path::new("/c/src/node/mod.rs")), ["node"]);
        assert_eq!(module_of(root, Path::new("/c/src/wire/hello.rs")), ["wire", "hello"]);
    }
}
