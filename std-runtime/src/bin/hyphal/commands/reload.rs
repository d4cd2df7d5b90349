//! A running node takes its configuration anew: on SIGHUP, and when the file has changed.
//!
//! ```text
//!   SIGHUP, changed file ─▶ read all sources ─▶ check ─▶ peers and trust as a whole ─▶ log level ─▶ say what changed
//!                               └─ a mistake ──────┴──────────┴─▶ the old configuration stays, and the log says why
//! ```
//!
//! Invariant: `config` is what the node runs by; settings that cannot change at run time stay in it as they were.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hyphal::config::{Config, Trust};
use hyphal::{Node, ReloadError, Reloaded, Roster, trust};

use super::signals::Hangups;
use super::start;
use super::watch::Watch;
use crate::cli::{Global, NodeFlags};
use crate::output::{self, Exit, Failure, LogFilter};

/// Where a node's configuration comes from, and what it runs by.
pub(crate) struct Reloads<'c> {
    global: &'c Global,
    flags: &'c NodeFlags,
    config: Config,
    logs: LogFilter,
    hangups: Hangups,
    watch: Watch,
}

/// What came of one reading of the configuration.
pub(crate) enum Outcome {
    /// It is in force; this is what it changed, and the settings that count from the next start on only.
    Taken(Reloaded, Vec<&'static str>),
    /// The old one stays in force.
    Refused(Failure),
}

impl<'c> Reloads<'c> {
    /// Takes SIGHUP over and watches the file that `config` was read from, and those that it names.
    pub(crate) fn new(
        global: &'c Global,
        flags: &'c NodeFlags,
        config: Config,
        logs: LogFilter,
    ) -> Result<Self, Failure> {
        let mut watch = Watch::over(files(global, flags, &config));
        // It may have been edited since it was read.
        if start::configuration(global, flags).ok().as_ref() != Some(&config) {
            watch.doubt();
        }
        Ok(Self { global, flags, config, logs, hangups: Hangups::new()?, watch })
    }

    /// Waits for the next reason to read the configuration. Cancellation safe.
    pub(crate) async fn wanted(&mut self) {
        tokio::select! {
            () = self.hangups.recv() => { self.watch.take_note(); }
            () = self.watch.changed() => {}
        }
    }

    /// Reads the configuration and puts it in force, or leaves all as it is.
    pub(crate) async fn reload(&mut self, node: &Node) -> Outcome {
        let outcome = match self.take(node).await {
            Ok((reloaded, waiting)) => Outcome::Taken(reloaded, waiting),
            Err(failure) => Outcome::Refused(failure),
        };
        outcome.log();
        outcome
    }

    async fn take(&mut self, node: &Node) -> Result<(Reloaded, Vec<&'static str>), Failure> {
        let new = self.read().inspect_err(|_| node.note_unreadable_roster())?;
        // Before they are read, so that no later edit of them is taken for known. Those in force stay watched, as the new ones may
        // be refused.
        let both = [&new, &self.config].map(|config| files(self.global, self.flags, config));
        self.watch.watch(both.into_iter().flatten().collect());
        let reloaded = node.reload(Roster::from(&new)).await?;
        if new.log.filter != self.config.log.filter
            && let Err(error) = self.logs.reload(output::targets(&new.log))
        {
            tracing::warn!(%error, "the log level stays as it was");
        }
        let waiting = self.config.awaiting_restart(&new);
        self.config.peers = new.peers;
        let trust = &mut self.config.trust;
        (trust.policy, trust.admit) = (new.trust.policy, new.trust.admit);
        (trust.authorities, trust.roles) = (new.trust.authorities, new.trust.roles);
        (trust.certificate, trust.revocations) = (new.trust.certificate, new.trust.revocations);
        trust.stale_list = new.trust.stale_list;
        self.config.log.filter = new.log.filter;
        Ok((reloaded, waiting))
    }

    fn read(&self) -> Result<Config, Failure> {
        self.refuse_emptied_file()?;
        start::configuration(self.global, self.flags)
    }

    /// An empty file is one that somebody is about to write, or for which the disk had no room. It would be valid, and let all
    /// peers and the trust policy go.
    fn refuse_emptied_file(&self) -> Result<(), Failure> {
        let Some(path) = self.global.sources(self.flags).path() else { return Ok(()) };
        let is_empty = std::fs::read(&path).is_ok_and(|bytes| bytes.trim_ascii().is_empty());
        if !is_empty {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Setup,
            format!("{}: the file is empty", path.display()),
            "write the settings, or a comment if all defaults are meant",
        ))
    }
}

/// What a configuration is made of: its file, this node's certificate, and the revocation lists that it keeps. (It writes these
/// itself as well, and then finds nothing new in them.)
fn files(global: &Global, flags: &NodeFlags, config: &Config) -> BTreeSet<PathBuf> {
    let Trust { certificate, revocations, authorities, .. } = &config.trust;
    let lists = revocations.iter().flat_map(|directory| {
        authorities.iter().map(|authority| trust::revocations_path(directory, authority))
    });
    global.sources(flags).path().into_iter().chain(certificate.clone()).chain(lists).collect()
}

impl Outcome {
    fn log(&self) {
        match self {
            Self::Refused(Failure { message, remedy, .. }) => {
                tracing::warn!("configuration not reloaded, the old one stays in force: {message}; {remedy}");
            }
            Self::Taken(reloaded, waiting) => {
                if reloaded.is_empty() {
                    tracing::info!("configuration reloaded: the same peers and trust");
                } else {
                    let Reloaded { trust, certificates, added, changed, removed, .. } = reloaded;
                    tracing::info!(
                        added = added.len(),
                        changed = changed.len(),
                        removed = removed.len(),
                        trust =
                            trust.map(|(from, to)| tracing::field::display(format!("{from:?} -> {to:?}"))),
                        certificates,
                        "configuration reloaded"
                    );
                }
                if !waiting.is_empty() {
                    tracing::warn!(
                        settings = waiting.join(", "),
                        "these settings count from the next start on, and are unchanged until then"
                    );
                }
            }
        }
    }
}

impl From<ReloadError> for Failure {
    fn from(error: ReloadError) -> Self {
        let said = error.to_string();
        let remedy = match &error {
            // Its sentence ends with what to do.
            ReloadError::Peer { .. } => {
                let (problem, remedy) = said.split_once("; ").unwrap_or((&said, ""));
                return Self::new(Exit::Setup, problem, remedy);
            }
            ReloadError::Full { .. } => "raise limits.max_peers and start the node anew",
            ReloadError::Trust { remedy, .. } => remedy,
            _ => "",
        };
        Self::new(Exit::Setup, said.as_str(), remedy)
    }
}
