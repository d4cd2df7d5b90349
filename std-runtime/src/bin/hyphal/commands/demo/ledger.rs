//! Books of senders and logs of receivers: lines in files, each written by one `write` as the thing happens, so that
//! they are whole up to the last line whenever their process is killed.
//!
//! ```text
//! book   try  N TARGET|*           about to send message N; only then
//!        sent N EPOCH SEQUENCE     it was accepted and has this id
//!        fate N TARGET WORD...     delivered, expired, unconfirmed, or dropped and the reason
//! log    SOURCE EPOCH SEQUENCE     the application has this message; only then does it come back for more
//! ```
//!
//! Invariant: a fate is written before anything depends on it, and a delivery before it is acknowledged.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use hyphal::{MessageId, Outcome, SendError};

/// A sender's book.
#[derive(Debug)]
pub(super) struct Book {
    file: File,
    next: AtomicU64,
}

impl Book {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: create(path)?, next: AtomicU64::new(0) })
    }

    /// Takes note of a message that is about to be sent and gives it a number.
    pub(super) fn attempt(&self, target: Option<usize>) -> io::Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(&Entry::Try { number, target })?;
        Ok(number)
    }

    pub(super) fn sent(&self, number: u64, id: MessageId) -> io::Result<()> {
        self.write(&Entry::Sent { number, id })
    }

    pub(super) fn settle(&self, number: u64, target: usize, fate: Fate) -> io::Result<()> {
        self.write(&Entry::Fate { number, target, fate })
    }

    fn write(&self, entry: &Entry) -> io::Result<()> {
        (&self.file).write_all(format!("{entry}\n").as_bytes())
    }
}

/// A receiver's log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
}

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: create(path)? })
    }

    pub(super) fn delivered(&self, arrival: Arrival) -> io::Result<()> {
        (&self.file).write_all(format!("{arrival}\n").as_bytes())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(path)
}

/// A line of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Try { number: u64, target: Option<usize> },
    Sent { number: u64, id: MessageId },
    Fate { number: u64, target: usize, fate: Fate },
}

/// What a sender says became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Expired,
    Unconfirmed,
    Dropped(String),
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Expired => Self::Expired,
            Outcome::Unconfirmed | Outcome::Unknown => Self::Unconfirmed,
            Outcome::Failed(reason) => Self::Dropped(reason.to_string()),
        }
    }
}

impl From<SendError> for Fate {
    fn from(error: SendError) -> Self {
        Self::Dropped(match error {
            SendError::QueueFull => "not accepted, the queue was full".to_owned(),
            error => format!("not accepted: {error}"),
        })
    }
}

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) source: usize,
    pub(super) id: MessageId,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Try { number, target: None } => write!(f, "try {number} *"),
            Self::Try { number, target: Some(target) } => write!(f, "try {number} {target}"),
            Self::Sent { number, id } => write!(f, "sent {number} {} {}", id.epoch, id.sequence),
            Self::Fate { number, target, fate } => write!(f, "fate {number} {target} {fate}"),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Expired => f.write_str("expired"),
            Self::Unconfirmed => f.write_str("unconfirmed"),
            Self::Dropped(reason) => write!(f, "dropped {reason}"),
        }
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.source, self.id.epoch, self.id.sequence)
    }
}

/// A line that is none of a book or a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLine;

impl From<std::num::ParseIntError> for BadLine {
    fn from(_: std::num::ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Entry {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        Ok(match words[..] {
            ["try", number, "*"] => Self::Try { number: number.parse()?, target: None },
            ["try", number, target] => Self::Try { number: number.parse()?, target: Some(target.parse()?) },
            ["sent", number, epoch, sequence] => {
                Self::Sent { number: number.parse()?, id: id(epoch, sequence)? }
            }
            ["fate", number, target, fate] => {
                Self::Fate { number: number.parse()?, target: target.parse()?, fate: fate.parse()? }
            }
            _ => return Err(BadLine),
        })
    }
}

impl FromStr for Fate {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        match text {
            "delivered" => Ok(Self::Delivered),
            "expired" => Ok(Self::Expired),
            "unconfirmed" => Ok(Self::Unconfirmed),
            text => {
                text.strip_prefix("dropped ").map(|reason| Self::Dropped(reason.to_owned())).ok_or(BadLine)
            }
        }
    }
}

impl FromStr for Arrival {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        let words: Vec<_> = line.split(' ').collect();
        let [source, epoch, sequence] = words[..] else { return Err(BadLine) };
        Ok(Self { source: source.parse()?, id: id(epoch, sequence)? })
    }
}

fn id(epoch: &str, sequence: &str) -> Result<MessageId, BadLine> {
    Ok(MessageId { epoch: epoch.parse()?, sequence: sequence.parse()? })
}

/// The whole lines of a file. A last one without its end was cut off by the death of its writer: what it tells of had
/// not happened yet.
pub(super) fn lines<T: FromStr<Err = BadLine>>(text: &str) -> Result<Vec<T>, BadLine> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_book_reads_back_as_it_was_written() {
        let id = MessageId { epoch: u64::MAX, sequence: 7 };
        let entries = [
            Entry::Try { number: 0, target: None },
            Entry::Try { number: 1, target: Some(4) },
            Entry::Sent { number: 1, id },
            Entry::Fate { number: 1, target: 4, fate: Fate::Delivered },
            Entry::Fate { number: 1, target: 4, fate: Fate::Expired },
            Entry::Fate { number: 1, target: 4, fate: Fate::Unconfirmed },
            Entry::Fate { number: 1, target: 4, fate: Fate::Dropped("the peer was removed".to_owned()) },
        ];

        let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();

        assert_eq!(lines::<Entry>(&text), Ok(entries.to_vec()));
    }

    #[test]
    fn a_line_that_was_cut_off_by_a_kill_is_not_there() {
        let read = lines::<Arrival>("1 2 3\n1 2 4\n1 2");

        assert_eq!(read.map(|arrivals| arrivals.len()), Ok(2));
        assert_eq!(lines::<Arrival>("1 2"), Ok(Vec::new()));
        assert_eq!(lines::<Arrival>("1 2\n1 2 3\n"), Err(BadLine));
    }
}
