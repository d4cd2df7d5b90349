//! `hyphal listen`: one line for each message that arrives, on a terminal or for a script.
//!
//! A message counts as delivered once its line was written: only then does the command come back for more.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyphal::{Batch, Filter, MessageRef};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stdout};

use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, ListenArgs, PriorityArg};
use crate::output::{self, Exit, Failure, HINT};

/// Prints messages until there were enough, or a signal.
pub(crate) fn run(global: &Global, args: &ListenArgs) -> Result<Exit, Failure> {
    let setup = Setup::load(global, &args.visitor.node, Key::of(args.visitor.ephemeral_key))?;
    if setup.config.listen.is_empty() && setup.config.peers.is_empty() {
        return Err(Failure::new(
            Exit::Setup,
            "without a listen address and without peers nothing can arrive",
            "set listen or peers, or pass --listen or --peer",
        ));
    }
    output::start_quiet_logs(global, &setup.config.log, "warn");
    start::block_on(&setup.config, serve(&setup, args))
}

async fn serve(setup: &Setup, args: &ListenArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let node = setup.start().await?;
    let mut messages = node.subscribe(Filter::all());
    for address in start::addresses(&node) {
        // Standard output belongs to the messages, and nobody has to see where they can be sent to.
        let _ = std::io::Write::write_fmt(
            &mut anstream::stderr(),
            format_args!("{HINT}listening on {address}{HINT:#}\n"),
        );
    }
    let mut printer = Printer {
        out: tokio::io::stdout(),
        lines: String::new(),
        kind: args.kind,
        left: args.count,
        is_json: args.json,
    };
    let end = loop {
        let batch = tokio::select! {
            batch = messages.recv_batch() => batch,
            // What arrived before the subscription was made.
            batch = node.recv_batch() => batch,
            () = signals.recv() => break Ok(End::Interrupted),
        };
        let Some(batch) = batch else { break Ok(End::Interrupted) };
        // A reader of the pipe that has stopped must not keep Ctrl-C from working.
        let printed = tokio::select! {
            printed = printer.print(&batch) => printed,
            () = signals.recv() => break Ok(End::Interrupted),
        };
        match printed {
            Ok(()) if printer.left == Some(0) => break Ok(End::Enough),
            Ok(()) => {}
            Err(error) => break Err(error),
        }
    };
    if matches!(end, Ok(End::Enough)) {
        // Coming back confirms what was printed. What this may take is not printed, and so never confirmed.
        tokio::select! {
            biased;
            _ = messages.recv_batch() => {}
            () = std::future::ready(()) => {}
        }
    }
    start::shut_down(&node, setup.config.timeouts.drain.min(LONGEST_FAREWELL)).await;
    match end? {
        End::Interrupted if args.count.is_some() => Ok(Exit::Interrupted),
        End::Interrupted | End::Enough => Ok(Exit::Done),
    }
}

/// Why the command stops listening.
enum End {
    /// As many messages as were asked for are printed.
    Enough,
    /// By a signal.
    Interrupted,
}

/// How long the last acknowledgements may take to leave.
const LONGEST_FAREWELL: Duration = Duration::from_secs(2);

struct Printer {
    out: Stdout,
    lines: String,
    /// The only message type that is printed.
    kind: Option<u16>,
    /// How many messages are still to be printed.
    left: Option<u64>,
    is_json: bool,
}

impl Printer {
    /// Writes the messages of a batch at once and waits until they have left.
    async fn print(&mut self, batch: &Batch) -> std::io::Result<()> {
        self.lines.clear();
        for message in batch.iter() {
            if self.left == Some(0) {
                break;
            }
            if self.kind.is_some_and(|kind| kind != message.kind) {
                continue;
            }
            if self.is_json {
                self.lines.push_str(&serde_json::to_string(&JsonLine::from(message))?);
            } else {
                write_line(&mut self.lines, &message);
            }
            self.lines.push('\n');
            self.left = self.left.map(|left| left - 1);
        }
        self.out.write_all(self.lines.as_bytes()).await?;
        self.out.flush().await
    }
}

/// `SOURCE TYPE PRIORITY PAYLOAD`, safe to show on a terminal.
fn write_line(line: &mut String, message: &MessageRef<'_>) {
    // Writing to a string cannot fail.
    let _ = write!(line, "{} {} {} ", message.source, message.kind, PriorityArg::name(message.priority));
    match std::str::from_utf8(message.payload) {
        Ok(text) => text.chars().for_each(|c| push_escaped(line, c)),
        Err(_) => {
            line.push_str("hex:");
            message.payload.iter().for_each(|byte| {
                let _ = write!(line, "{byte:02x}");
            });
        }
    }
}

/// Control characters could end the line or steer the terminal, and reversed text could show something else than was sent.
fn push_escaped(line: &mut String, c: char) {
    match c {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            line.extend(c.escape_unicode());
        }
        '\\' => line.push_str("\\\\"),
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => line.extend(c.escape_default()),
        c => line.push(c),
    }
}

/// The envelope of a message, all fields.
#[derive(Serialize)]
struct JsonLine<'a> {
    message_id: String,
    source_node_id: String,
    target_node_id: Option<String>,
    timestamp: String,
    ttl: u32,
    priority: &'static str,
    is_encrypted: bool,
    message_type: u16,
    payload: std::borrow::Cow<'a, str>,
    payload_encoding: &'static str,
}

impl<'a> From<MessageRef<'a>> for JsonLine<'a> {
    fn from(message: MessageRef<'a>) -> Self {
        let (payload, payload_encoding) = match std::str::from_utf8(message.payload) {
            Ok(text) => (text.into(), "utf-8"),
            Err(_) => (STANDARD.encode(message.payload).into(), "base64"),
        };
        let sent_at = UNIX_EPOCH + Duration::from_micros(message.timestamp.as_micros());
        Self {
            message_id: message.id.to_string(),
            source_node_id: message.source.to_string(),
            target_node_id: message.target.map(|target| target.to_string()),
            timestamp: humantime::format_rfc3339_micros(sent_at).to_string(),
            ttl: message.ttl,
            priority: PriorityArg::name(message.priority),
            is_encrypted: false,
            message_type: message.kind,
            payload,
            payload_encoding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_cannot_end_its_line_or_steer_the_terminal() {
        let mut line = String::new();

        "a\\b\r\n\u{1b}[2J\u{202e}\u{2028}ä\t".chars().for_each(|c| push_escaped(&mut line, c));

        assert_eq!(line, "a\\\\b\\r\\n\\u{1b}[2J\\u{202e}\\u{2028}ä\\t");
    }
}
