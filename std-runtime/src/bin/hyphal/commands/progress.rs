//! The progress of a long message, for a person who watches a terminal. Scripts and pipes get nothing.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error with the share, the rate and the time that is left. Clones are the same bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar of so many bytes; it shows nothing if it is not wanted, if they are few, or where nobody watches.
    pub(crate) fn new(bytes: usize, is_wanted: bool) -> Self {
        let is_shown = is_wanted && bytes >= LONG && io::stderr().is_terminal();
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(bytes as u64), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        if is_shown {
            bar.enable_steady_tick(PACE);
        }
        Self { bar }
    }

    /// So many further bytes are there.
    pub(crate) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Leaves the terminal as it was.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

const TEMPLATE: &str =
    "{percent:>3}% [{bar:30}] {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";

/// Below it, a message is there before anybody has read a number.
const LONG: usize = 256 * 1024;

const PACE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn nothing_is_shown_for_short_messages_or_where_it_is_not_wanted() {
        assert!(Bar::new(LONG - 1, true).bar.is_hidden());
        assert!(Bar::new(LONG, false).bar.is_hidden());
    }
}
