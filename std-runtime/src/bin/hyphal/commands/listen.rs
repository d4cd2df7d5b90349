//! `hyphal listen`: one line for each message that arrives, on a terminal or for a script; or files, or bare bytes.
//!
//! A message counts as delivered once its line was written: only then does the command come back for more. Payloads that
//! go to files or leave as they are pass through part by part, and are never held whole.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyphal::{
    Batch, Filter, Incoming, IncomingStream, Message, MessageId, MessageRef, Node, NodeId, Priority,
    StreamError, StreamSubscription, UnixTime,
};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::task::JoinSet;

use super::deposit::{Deposit, Stored};
use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, ListenArgs, PriorityArg};
use crate::output::{self, Exit, Failure, HINT, WARN};

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
    let is_synced = setup.config.store.directory.is_some();
    let deposit = args.output.as_deref().map(|directory| Deposit::open(directory, is_synced)).transpose()?;
    let node = setup.start().await?;
    let printer = Printer {
        out: tokio::io::stdout(),
        lines: String::new(),
        kind: args.kind,
        left: args.count,
        is_json: args.json,
    };
    // What is stored or passed on part by part would be whole in memory, and late, as a message.
    let end = match deposit {
        Some(deposit) => {
            let messages = listening(&node, Node::subscribe_streams);
            Keeper { printer, deposit, storing: JoinSet::new() }
                .keep(&node, messages, &mut signals, setup)
                .await
        }
        None if args.raw => {
            let messages = listening(&node, Node::subscribe_streams);
            pass_on(printer, &node, messages, &mut signals, setup).await
        }
        None => {
            let messages = listening(&node, Node::subscribe);
            print(printer, &node, messages, &mut signals, setup).await
        }
    };
    match end? {
        End::Interrupted if args.count.is_some() => Ok(Exit::Interrupted),
        End::Interrupted | End::Enough => Ok(Exit::Done),
    }
}

/// Subscribes, and tells where messages can be sent to.
fn listening<S>(node: &Node, subscribe: impl FnOnce(&Node, Filter) -> S) -> S {
    let messages = subscribe(node, Filter::all());
    for address in start::addresses(node) {
        // Standard output belongs to the messages, and nobody has to see where they can be sent to.
        let _ = std::io::Write::write_fmt(
            &mut anstream::stderr(),
            format_args!("{HINT}listening on {address}{HINT:#}\n"),
        );
    }
    messages
}

/// One line for each message.
async fn print(
    mut printer: Printer,
    node: &Node,
    mut messages: hyphal::Subscription,
    signals: &mut Signals,
    setup: &Setup,
) -> Result<End, Failure> {
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
        confirm(messages.recv_batch(), node.recv_batch()).await;
    }
    shut_down(node, setup).await;
    Ok(end?)
}

/// The next message, or the beginning of one; `None` at the end of the node.
async fn next(node: &Node, messages: &mut StreamSubscription) -> Option<Incoming> {
    tokio::select! {
        incoming = messages.recv() => incoming,
        // What arrived before the subscription was made.
        message = node.recv() => message.map(Incoming::Message),
    }
}

/// Coming back, once and at both places, confirms what was taken from there. What that may take in turn is not printed, and so
/// never confirmed.
async fn confirm<A, B>(subscribed: impl Future<Output = A>, early: impl Future<Output = B>) {
    let (mut subscribed, mut early) = (std::pin::pin!(subscribed), std::pin::pin!(early));
    poll_fn(|cx| {
        let _ = (subscribed.as_mut().poll(cx).is_ready(), early.as_mut().poll(cx).is_ready());
        Poll::Ready(())
    })
    .await;
}

/// The bytes of payloads one after another.
async fn pass_on(
    mut printer: Printer,
    node: &Node,
    mut messages: StreamSubscription,
    signals: &mut Signals,
    setup: &Setup,
) -> Result<End, Failure> {
    let end = loop {
        let passed = async {
            let Some(incoming) = next(node, &mut messages).await else { return Ok(Some(End::Interrupted)) };
            match incoming {
                Incoming::Message(message) if printer.takes(message.kind) => {
                    printer.write(&message.payload).await?;
                }
                Incoming::Stream(mut stream) if printer.takes(stream.kind()) => {
                    while let Some(part) = stream.next().await {
                        printer.write(&part.map_err(cut_short)?).await?;
                    }
                }
                _ => return Ok(None),
            }
            Ok(printer.count().then_some(End::Enough))
        };
        let passed: Result<Option<End>, Failure> = tokio::select! {
            passed = passed => passed,
            () = signals.recv() => break Ok(End::Interrupted),
        };
        match passed {
            Ok(None) => {}
            Ok(Some(end)) => break Ok(end),
            Err(failure) => break Err(failure),
        }
    };
    if matches!(end, Ok(End::Enough)) {
        confirm(messages.recv(), node.recv()).await;
    }
    shut_down(node, setup).await;
    end
}

fn cut_short(error: StreamError) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the output ends in the middle of a message: {error}"),
        "use --output DIR, which keeps whole messages only",
    )
}

/// Puts payloads into files, several at once, and prints a line for each that is whole.
struct Keeper {
    printer: Printer,
    deposit: Deposit,
    storing: JoinSet<Result<(IncomingStream, Stored), Unstored>>,
}

/// Why there is no file of a message.
enum Unstored {
    /// Its sender has given it up, or the session ended.
    CutShort { source: NodeId, error: StreamError },
    /// The file cannot be written.
    Failed(Failure),
}

impl Keeper {
    async fn keep(
        mut self,
        node: &Node,
        mut messages: StreamSubscription,
        signals: &mut Signals,
        setup: &Setup,
    ) -> Result<End, Failure> {
        let end = loop {
            let kept = tokio::select! {
                kept = self.turn(node, &mut messages) => kept,
                () = signals.recv() => break Ok(End::Interrupted),
            };
            match kept {
                Ok(None) => {}
                Ok(Some(end)) => break Ok(end),
                Err(failure) => break Err(failure),
            }
        };
        if matches!(end, Ok(End::Enough)) {
            confirm(messages.recv(), node.recv()).await;
        }
        // What is not stored yet must not count as taken, so its streams end after the node.
        shut_down(node, setup).await;
        self.storing.shutdown().await;
        end
    }

    async fn turn(&mut self, node: &Node, messages: &mut StreamSubscription) -> Result<Option<End>, Failure> {
        tokio::select! {
            Some(stored) = self.storing.join_next() => {
                let stored = stored.map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))?;
                match stored {
                    Ok((stream, stored)) => {
                        self.printer.print_stored(&Head::from(&stream), &stored).await?;
                        // The sender hears of it from here on.
                        drop(stream);
                    }
                    Err(Unstored::CutShort { source, error }) => {
                        let _ = std::io::Write::write_fmt(
                            &mut anstream::stderr(),
                            format_args!("{WARN}not kept:{WARN:#} a message of {source}: {error}\n"),
                        );
                        return Ok(None);
                    }
                    Err(Unstored::Failed(failure)) => return Err(failure),
                }
            }
            incoming = next(node, messages) => match incoming {
                None => return Ok(Some(End::Interrupted)),
                Some(Incoming::Message(message)) if self.printer.takes(message.kind) => {
                    let stored = self.deposit.store(message.source, message.id, &message.payload).await?;
                    self.printer.print_stored(&Head::from(&message), &stored).await?;
                }
                Some(Incoming::Stream(stream)) if self.printer.takes(stream.kind()) => {
                    self.storing.spawn(store(self.deposit.clone(), stream));
                    return Ok(None);
                }
                Some(_) => return Ok(None),
            },
        }
        Ok(self.printer.count().then_some(End::Enough))
    }
}

/// Writes the parts of a message to a file as they come. The last one is acknowledged with the end of the stream.
async fn store(deposit: Deposit, mut stream: IncomingStream) -> Result<(IncomingStream, Stored), Unstored> {
    let source = stream.source();
    let mut file = deposit.begin().map_err(Unstored::Failed)?;
    while stream.received() < stream.total() {
        match stream.next().await {
            Some(Ok(part)) => file.write(&part).await.map_err(Unstored::Failed)?,
            Some(Err(error)) => return Err(Unstored::CutShort { source, error }),
            None => break,
        }
    }
    let stored = file.finish(source, stream.id()).await.map_err(Unstored::Failed)?;
    Ok((stream, stored))
}

async fn shut_down(node: &Node, setup: &Setup) {
    start::shut_down(node, setup.config.timeouts.drain.min(LONGEST_FAREWELL)).await;
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
            if !self.takes(message.kind) {
                continue;
            }
            let head = Head::from(message);
            if self.is_json {
                self.lines
                    .push_str(&serde_json::to_string(&JsonLine::new(&head, Content::of(message.payload)))?);
            } else {
                write_head(&mut self.lines, &head);
                write_payload(&mut self.lines, message.payload);
            }
            self.lines.push('\n');
            self.count();
        }
        self.out.write_all(self.lines.as_bytes()).await?;
        self.out.flush().await
    }

    /// Writes the line of a message whose payload is in a file.
    async fn print_stored(&mut self, head: &Head, stored: &Stored) -> std::io::Result<()> {
        self.lines.clear();
        let path = stored.path.to_string_lossy();
        if self.is_json {
            let content = Content { file: Some(&path), length: Some(stored.len), ..Content::default() };
            self.lines.push_str(&serde_json::to_string(&JsonLine::new(head, content))?);
        } else {
            write_head(&mut self.lines, head);
            path.chars().for_each(|c| push_escaped(&mut self.lines, c));
        }
        self.lines.push('\n');
        self.out.write_all(self.lines.as_bytes()).await?;
        self.out.flush().await
    }

    /// Writes bytes as they are.
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.out.write_all(bytes).await?;
        self.out.flush().await
    }

    /// Whether messages of this type are printed.
    fn takes(&self, kind: u16) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
    }

    /// A message is printed; says whether it was the last one.
    fn count(&mut self) -> bool {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.left == Some(0)
    }
}

/// What is told of a message beside its payload.
struct Head {
    id: MessageId,
    source: NodeId,
    target: Option<NodeId>,
    timestamp: UnixTime,
    ttl: u32,
    priority: Priority,
    kind: u16,
    is_encrypted: bool,
    is_signed: bool,
}

impl From<MessageRef<'_>> for Head {
    fn from(message: MessageRef<'_>) -> Self {
        let MessageRef {
            id, source, target, timestamp, ttl, priority, kind, is_encrypted, is_signed, ..
        } = message;
        Self { id, source, target, timestamp, ttl, priority, kind, is_encrypted, is_signed }
    }
}

impl From<&Message> for Head {
    fn from(message: &Message) -> Self {
        let &Message { id, source, target, timestamp, ttl, priority, kind, is_encrypted, is_signed, .. } =
            message;
        Self { id, source, target, timestamp, ttl, priority, kind, is_encrypted, is_signed }
    }
}

impl From<&IncomingStream> for Head {
    fn from(stream: &IncomingStream) -> Self {
        Self {
            id: stream.id(),
            source: stream.source(),
            target: stream.target(),
            timestamp: stream.timestamp(),
            ttl: stream.ttl(),
            priority: stream.priority(),
            kind: stream.kind(),
            is_encrypted: stream.is_encrypted(),
            is_signed: stream.is_signed(),
        }
    }
}

/// `SOURCE TYPE PRIORITY[,sealed][,signed] `, before what is shown of the payload.
fn write_head(line: &mut String, head: &Head) {
    let sealed = if head.is_encrypted { ",sealed" } else { "" };
    let signed = if head.is_signed { ",signed" } else { "" };
    // Writing to a string cannot fail.
    let _ =
        write!(line, "{} {} {}{sealed}{signed} ", head.source, head.kind, PriorityArg::name(head.priority));
}

/// The payload, safe to show on a terminal.
fn write_payload(line: &mut String, payload: &[u8]) {
    match std::str::from_utf8(payload) {
        Ok(text) => text.chars().for_each(|c| push_escaped(line, c)),
        Err(_) => {
            line.push_str("hex:");
            payload.iter().for_each(|byte| {
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
    is_signed: bool,
    message_type: u16,
    #[serde(flatten)]
    content: Content<'a>,
}

/// The payload, or where it is.
#[derive(Default, Serialize)]
struct Content<'a> {
    payload: Option<Cow<'a, str>>,
    payload_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
}

impl<'a> Content<'a> {
    fn of(payload: &'a [u8]) -> Self {
        let (payload, encoding) = match std::str::from_utf8(payload) {
            Ok(text) => (text.into(), "utf-8"),
            Err(_) => (STANDARD.encode(payload).into(), "base64"),
        };
        Self { payload: Some(payload), payload_encoding: Some(encoding), ..Self::default() }
    }
}

impl<'a> JsonLine<'a> {
    fn new(head: &Head, content: Content<'a>) -> Self {
        let sent_at = UNIX_EPOCH + Duration::from_micros(head.timestamp.as_micros());
        Self {
            message_id: head.id.to_string(),
            source_node_id: head.source.to_string(),
            target_node_id: head.target.map(|target| target.to_string()),
            timestamp: humantime::format_rfc3339_micros(sent_at).to_string(),
            ttl: head.ttl,
            priority: PriorityArg::name(head.priority),
            is_encrypted: head.is_encrypted,
            is_signed: head.is_signed,
            message_type: head.kind,
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn both_places_that_messages_came_from_are_come_back_to_and_neither_is_waited_for() {
        let (subscribed, early) = (Cell::new(false), Cell::new(false));

        let more = async { subscribed.set(true) };
        let none = async {
            early.set(true);
            std::future::pending::<()>().await;
        };
        confirm(more, none).await;

        assert!(subscribed.get() && early.get());
    }

    #[test]
    fn a_payload_cannot_end_its_line_or_steer_the_terminal() {
        let mut line = String::new();

        "a\\b\r\n\u{1b}[2J\u{202e}\u{2028}ä\t".chars().for_each(|c| push_escaped(&mut line, c));

        assert_eq!(line, "a\\\\b\\r\\n\\u{1b}[2J\\u{202e}\\u{2028}ä\\t");
    }
}
