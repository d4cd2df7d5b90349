//! Notices that one of a few files has other content, however it got there: written in place, renamed over, or by a link
//! that points elsewhere, as editors, package managers and containers do it.
//!
//! ```text
//!   something happens in a directory on the way ─▶ quiet for a moment ─▶ watch the ways anew ─▶ is the content another one?
//! ```
//!
//! Directories are watched, not files, as a file that is replaced takes its watch with it. Whatever happens there is only a
//! reason to look: the content decides. Invariants: a change that was noticed and not yet reported stays noticed; content counts
//! as known only when the change to it was reported, or when its file was not watched before.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A watch over some files, which need not exist.
pub(crate) struct Watch {
    /// The content that is known of each file; `None` of one whose content is in doubt.
    files: BTreeMap<PathBuf, Option<Content>>,
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    touched: Arc<Notify>,
    /// Whether something happened that was not looked at.
    is_touched: bool,
}

/// What a file holds, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Hash(u64),
    Unreadable,
}

impl Watch {
    /// Watches these files from here on.
    ///
    /// A system that cannot tell of changes is only worth a warning: there is SIGHUP.
    pub(crate) fn over(files: BTreeSet<PathBuf>) -> Self {
        let mut watch = Self {
            files: BTreeMap::new(),
            watcher: None,
            directories: BTreeSet::new(),
            touched: Arc::default(),
            is_touched: false,
        };
        watch.watch(files);
        watch
    }

    /// Watches these files in the place of the others. Of those that are new, what they hold at this moment is known.
    pub(crate) fn watch(&mut self, files: BTreeSet<PathBuf>) {
        if self.files.keys().eq(&files) {
            return;
        }
        if self.watcher.is_none() {
            self.watcher = self.new_watcher();
        }
        let mut before = std::mem::take(&mut self.files);
        self.files = files
            .into_iter()
            .map(|file| {
                let known = before.remove(&file).unwrap_or_else(|| Some(Content::of(&file)));
                (file, known)
            })
            .collect();
        self.follow(self.ways());
        // What happened before the directories were watched told nobody.
        self.is_touched = true;
    }

    fn new_watcher(&self) -> Option<RecommendedWatcher> {
        let touched = Arc::clone(&self.touched);
        // Of what this process itself reads there is nothing to tell.
        let tell = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| !event.kind.is_access()) {
                touched.notify_one();
            }
        };
        notify::recommended_watcher(tell)
            .inspect_err(|error| tracing::warn!(%error, "cannot watch the configuration; SIGHUP reloads it"))
            .ok()
    }

    /// Resolves when the files have other content than is known and have been left alone for a moment. Cancellation safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            if !self.is_touched {
                self.touched.notified().await;
                self.is_touched = true;
            }
            let latest = Instant::now() + LONGEST_UNREST;
            while timeout_at(latest.min(Instant::now() + QUIET), self.touched.notified()).await.is_ok() {}
            // On ways that have changed meanwhile, something may have happened unseen.
            self.is_touched = !self.follow(self.ways());
            if self.take_note() {
                return;
            }
        }
    }

    /// What was taken for the content may be older than what is known: it has changed, until it is looked at.
    pub(crate) fn doubt(&mut self) {
        self.files.values_mut().for_each(|known| *known = None);
        self.is_touched = true;
    }

    /// Takes note of the content as it is; says whether that is news.
    pub(crate) fn take_note(&mut self) -> bool {
        let mut is_news = false;
        for (file, known) in &mut self.files {
            let content = Some(Content::of(file));
            is_news |= *known != content;
            *known = content;
        }
        is_news
    }

    /// The directories on the ways to the files, as they are at this moment.
    fn ways(&self) -> BTreeSet<PathBuf> {
        self.files.keys().flat_map(|file| directories(file)).collect()
    }

    /// Watches these directories; says whether they still are the ways to the files once they are watched.
    fn follow(&mut self, directories: BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return true };
        // One by one and anew: a directory of the same name may be another one by now.
        for old in &self.directories {
            let _ = watcher.unwatch(old);
        }
        for directory in &directories {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
                && !self.directories.contains(directory)
            {
                tracing::warn!(
                    directory = %directory.display(), %error,
                    "cannot watch for changes of the configuration; SIGHUP reloads it"
                );
            }
        }
        self.directories = directories;
        self.ways() == self.directories
    }
}

impl Content {
    fn of(file: &Path) -> Self {
        let Ok(bytes) = std::fs::read(file) else { return Self::Unreadable };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self::Hash(hasher.finish())
    }
}

/// The directories in which something must happen for the file to become another one: that of each link on the way and of the
/// file itself, or the nearest one that exists.
fn directories(file: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut at = match std::path::absolute(file) {
        Ok(path) => path,
        Err(_) => file.to_owned(),
    };
    for _ in 0..MOST_LINKS {
        let links = at.ancestors().skip(1).filter(|ancestor| ancestor.is_symlink());
        found.extend(links.filter_map(Path::parent).map(Path::to_owned));
        found.extend(at.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).map(Path::to_owned));
        match (std::fs::read_link(&at), at.parent()) {
            (Ok(target), Some(parent)) => at = parent.join(target),
            _ => break,
        }
    }
    found
}

/// How long nothing may happen before the files are read: what writes one in several steps is done by then.
const QUIET: Duration = Duration::from_millis(200);

/// How long they are not read at most, however much happens around them.
const LONGEST_UNREST: Duration = Duration::from_secs(2);

/// Links on the way to a file that are followed.
const MOST_LINKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than anything that a test waits for takes on a loaded machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_file_that_is_written_replaced_removed_and_made_again_has_changed_each_time() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.toml");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::over([file.clone()].into());

        std::fs::write(&file, "two").unwrap();
        changed(&mut watch).await;

        let beside = home.path().join("a.toml~");
        std::fs::write(&beside, "three").unwrap();
        std::fs::rename(&beside, &file).unwrap();
        changed(&mut watch).await;

        std::fs::remove_file(&file).unwrap();
        changed(&mut watch).await;

        std::fs::write(&file, "four").unwrap();
        changed(&mut watch).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_to_a_directory_that_is_swapped_changes_the_file_behind_it() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for version in ["..1", "..2", "..3"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("a.toml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/a.toml", at("a.toml")).unwrap();
        let mut watch = Watch::over([at("a.toml")].into());

        for version in ["..2", "..3"] {
            symlink(version, at("..data_tmp")).unwrap();
            std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
            changed(&mut watch).await;
        }

        std::fs::write(at("..3").join("a.toml"), "in place").unwrap();
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_directory_that_goes_and_comes_back_is_watched_again() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("etc");
        let file = directory.join("a.toml");
        let mut watch = Watch::over([file.clone()].into());

        for content in ["one", "two"] {
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(&file, content).unwrap();
            changed(&mut watch).await;

            std::fs::remove_dir_all(&directory).unwrap();
            changed(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn what_does_not_change_the_content_is_not_news() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.toml");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::over([file.clone()].into());

        std::fs::write(&file, "one").unwrap();
        std::fs::write(home.path().join("b.toml"), "other").unwrap();
        assert!(!watch.take_note());

        std::fs::write(&file, "two").unwrap();
        assert!(watch.take_note());
        assert!(!watch.take_note(), "it is known by then");
    }

    #[tokio::test]
    async fn other_files_take_the_place_of_those_before() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (home.path().join("a.toml"), home.path().join("elsewhere").join("b.cert"));
        std::fs::create_dir(other.parent().unwrap()).unwrap();
        let mut watch = Watch::over([one.clone()].into());

        watch.watch([other.clone()].into());
        std::fs::write(&one, "nobody looks here any more").unwrap();
        assert!(!watch.take_note());
        std::fs::write(&other, "new").unwrap();

        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_change_that_was_not_looked_at_is_not_known_because_another_file_is_watched_too() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (home.path().join("a.toml"), home.path().join("b.cert"));
        std::fs::write(&one, "one").unwrap();
        let mut watch = Watch::over([one.clone()].into());

        std::fs::write(&one, "two").unwrap();
        watch.watch([one, other].into());

        assert!(watch.take_note());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_that_is_swapped_before_the_way_to_it_is_watched_is_followed_nevertheless() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for version in ["..1", "..2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("a.toml"), "the same").unwrap();
        }
        symlink("..1/a.toml", at("a.toml")).unwrap();
        let mut watch = Watch::over([at("a.toml")].into());

        let ways = watch.ways();
        symlink("..2/a.toml", at("a.toml~")).unwrap();
        std::fs::rename(at("a.toml~"), at("a.toml")).unwrap();

        assert!(!watch.follow(ways));
        assert!(watch.follow(watch.ways()));
    }

    async fn changed(watch: &mut Watch) {
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("the change is noticed");
    }
}
