//! The Markdown pages of the repository: no placeholder was left, and every relative link leads to a file.
//!
//! Links out of the repository and to headings within a page are not followed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow};

use crate::child::output;
use crate::groups::Failure;
use crate::workspace::Workspace;

/// What stands in a page where something has still to be filled in.
const PLACEHOLDER: &str = "@@";

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let listed = output(Command::new("git").current_dir(workspace.root()).args(["ls-files", "-z", "*.md"]))
        .map_err(|error| {
        Failure::CannotRun(format!("git does not say which pages there are: {error:#}"))
    })?;
    let listed = String::from_utf8(listed).context("the name of a page is not UTF-8")?;
    let pages: Vec<_> = listed.split_terminator('\0').collect();

    let mut broken = Vec::new();
    for page in &pages {
        let path = workspace.root().join(page);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))?;
        let folder = path.parent().unwrap_or(workspace.root());
        broken.extend(faults(folder, &text).into_iter().map(|fault| format!("{page}:{fault}")));
    }
    if !broken.is_empty() {
        broken.iter().for_each(|line| println!("{line}"));
        return Err(anyhow!("{} faults in Markdown pages", broken.len()).into());
    }
    println!("{} pages have no placeholder and no broken relative link", pages.len());
    Ok(())
}

/// What is wrong with a page in `folder`, each with its line.
fn faults(folder: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.contains(PLACEHOLDER) {
            faults.push(format!("{number}: a placeholder: {}", line.trim()));
        }
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let broken = links(line).into_iter().filter(|link| !leads_somewhere(folder, link));
            faults.extend(broken.map(|link| format!("{number}: a broken link: {link}")));
        }
    }
    faults
}

/// The targets of the links in a line: `[text](target)` outside of code spans.
fn links(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.map(str::to_owned).collect()
}

fn leads_somewhere(folder: &Path, link: &str) -> bool {
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
    let file = link.split('#').next().unwrap_or(link);
    is_elsewhere || file.is_empty() || folder.join(file).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(text: &str) -> Vec<String> {
        faults(Path::new(env!("CARGO_MANIFEST_DIR")), text)
    }

    #[test]
    fn a_placeholder_is_named_with_its_line() {
        assert_eq!(faults_of("a\n@@LATER@@\n"), ["2: a placeholder: @@LATER@@"]);
    }

    #[test]
    fn a_relative_link_must_lead_to_a_file() {
        let text = "[a](Cargo.toml), [`b`](src/main.rs#x) and [c](none.md)";

        assert_eq!(faults_of(text), ["1: a broken link: none.md"]);
    }

    #[test]
    fn links_elsewhere_to_headings_and_in_code_are_not_followed() {
        let text = "[a](https://example.org) [b](#b) `[c](none)`\n```text\n[d](none)\n```\n";

        assert_eq!(faults_of(text), [""; 0]);
    }
}
