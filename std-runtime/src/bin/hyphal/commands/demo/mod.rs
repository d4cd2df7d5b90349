//! `hyphal demo`: five nodes in processes of their own, deaths and returns, and the account of all messages.
//!
//! ```text
//!   meet ─▶ talk ─▶ kill ─▶ noticed ─▶ down, breaker open, messages expired ─▶ restart ─▶ reconnected ─▶ stop
//!     ─▶ large messages and Critical ones meanwhile ─▶ sealed and signed ones
//!     ─▶ Guaranteed ones, kill their receiver, kill their sender, restart both ─▶ delivered ─▶ audit
//! ```
//!
//! This process sends and receives no message. It gives orders, waits for reports, and holds books against logs. Nothing
//! waits for a time to pass: every step follows from what nodes reported. Whatever happens, no process and no file stays.

mod actor;
mod audit;
mod ledger;
mod script;
mod stage;
mod table;

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::signals::Signals;
use crate::cli::DemoArgs;
use crate::output::{self, Exit, Failure};
use audit::{Audit, Promises};
use script::{KEEPERS, NODES, Order, Transport};
use stage::Stage;

pub(crate) use actor::run as run_actor;

/// Plays the demo and prints its account; fails if a message was lost or delivered twice.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start the demo: {error}"), ""))?;
    let Some(account) = runtime.block_on(perform())? else { return Ok(Exit::Interrupted) };
    if args.json {
        output::print_json(&Fields::from(&account))?;
    } else {
        write!(anstream::stdout(), "{}", table::Table(&account))?;
    }
    Ok(if account.is_sound() { Exit::Done } else { Exit::Failed })
}

/// Plays until the end or a signal (`None`), and clears up in either case.
async fn perform() -> Result<Option<Account>, Failure> {
    let mut signals = Signals::new()?;
    let mut stage = Stage::build()?;
    let played = tokio::select! {
        played = play(&mut stage) => played.map(Some),
        () = signals.recv() => Ok(None),
    };
    let cleared = stage.clear().await;
    let account = played?;
    cleared?;
    Ok(account)
}

async fn play(stage: &mut Stage) -> Result<Account, Failure> {
    stage.say(format_args!("starting {NODES} nodes on loopback, keys and logs in {}", stage.directory()));
    for index in 0..NODES {
        stage.start(index).await?;
    }
    stage.wait("all nodes listen", Stage::all_listen).await?;
    for index in 0..NODES {
        stage.meet(index).await?;
    }
    stage.wait("all nodes are connected", Stage::all_are_connected).await?;
    stage.say(format_args!("all {} pairs are authenticated and encrypted", NODES * (NODES - 1) / 2));

    stage.order_all(&Order::Talk).await?;
    stage.wait("all nodes have sent messages", |stage| stage.all_have_sent(FIRST_ACT)).await?;

    let killed_at = stage.kill(VICTIM).await?;
    stage.say(format_args!("killed node {VICTIM} (SIGKILL) while all were sending"));
    stage.wait("the others notice", Stage::all_noticed).await?;
    let detect = stage.noticed_by_all_after(killed_at);
    stage.say(format_args!("all others noticed within {}", table::span(detect)));
    stage.order_all(&Order::Expire { peer: VICTIM }).await?;
    stage.wait("the others give the node up", Stage::all_gave_up).await?;
    stage.wait("messages expire", Stage::all_have_expired).await?;
    stage.say(format_args!("messages for node {VICTIM} with a time to live of 1 s have expired"));

    let restarted_at = stage.start(VICTIM).await?;
    stage.say(format_args!("restarted node {VICTIM}: same identity, same address"));
    stage.wait("the node listens", Stage::all_listen).await?;
    stage.meet(VICTIM).await?;
    stage.wait("the node is connected again", Stage::all_are_connected).await?;
    let reconnect = stage.connected_with_all_after(restarted_at, VICTIM);
    stage.say(format_args!("all others are connected with it again after {}", table::span(reconnect)));

    stage.begin_act();
    stage.order(VICTIM, &Order::Talk).await?;
    stage.wait("all nodes have sent messages", |stage| stage.all_have_sent_more(LAST_ACT)).await?;
    stage.order_all(&Order::Stop).await?;
    stage.wait("the fate of all messages is known", Stage::all_have_settled).await?;
    let rtts_us = stage.take_rtts();

    let [from, to] = TRANSFER;
    stage.order(to, &Order::Expect).await?;
    stage.wait("the node awaits large messages", |stage| stage.is_expecting(to)).await?;
    stage.order(from, &Order::Transfer { peer: to }).await?;
    stage.wait("large messages arrive", |stage| stage.has_transferred(from)).await?;
    stage.order(to, &Order::Account).await?;
    stage.wait("the node accounts for them", |stage| stage.has_accounted(to)).await?;
    let waits_us = stage.take_waits(to);
    let critical_wait_p99 = quantile(&waits_us, 0.99);
    stage.say(format_args!(
        "messages of 16 MiB from node {from} to node {to}; {} Critical ones got past them within {} (p99)",
        waits_us.len(),
        table::span(critical_wait_p99),
    ));

    let [asks, answers] = CONFIDANTS;
    stage.order(asks, &Order::Confide { peer: answers }).await?;
    stage.wait("a question and its answer arrive sealed and signed", |stage| stage.opened() >= 2).await?;
    stage.wait("both senders know that", |stage| stage.confided() >= 2).await?;
    let sealed_and_signed = stage.opened();
    stage.say(format_args!(
        "node {asks} asked node {answers} something, and got an answer: both sealed and signed"
    ));

    let [from, to] = KEEPERS;
    stage.order(from, &Order::Promise { peer: to }).await?;
    stage.wait("Guaranteed messages are accepted", |stage| stage.has_promised(from, PROMISES)).await?;
    stage.kill(to).await?;
    stage.wait("more are accepted", |stage| stage.has_promised(from, 2 * PROMISES)).await?;
    stage.kill(from).await?;
    stage.say(format_args!(
        "killed node {to} and then node {from}, which had accepted Guaranteed messages for it"
    ));
    for index in KEEPERS {
        stage.start(index).await?;
    }
    stage.wait("both nodes listen", Stage::all_listen).await?;
    for index in KEEPERS {
        stage.meet(index).await?;
    }
    stage.order(from, &Order::Deliver).await?;
    stage.wait("all Guaranteed messages are delivered", |stage| stage.has_delivered(from)).await?;
    stage.say(format_args!("restarted both: all that was accepted has been delivered"));

    stage.dismiss().await?;
    stage.say(format_args!("comparing the senders' books with the receivers' logs"));
    let (audit, promises) = (stage.audit()?, stage.promises()?);
    Ok(Account {
        audit,
        promises,
        sealed_and_signed,
        rtt_p50: quantile(&rtts_us, 0.50),
        rtt_p99: quantile(&rtts_us, 0.99),
        critical_wait_p99,
        detect,
        reconnect,
        transports: Transport::OF_NODES,
    })
}

/// The node that is killed.
const VICTIM: usize = 2;

/// Who sends large messages, and to whom.
const TRANSFER: [usize; 2] = [0, 1];

/// Who asks something, sealed and signed, and who answers; over UDP.
const CONFIDANTS: [usize; 2] = [1, 3];

/// Guaranteed messages that are accepted before their receiver is killed, and as many again before their sender is.
const PROMISES: u64 = 200;

/// Messages that each node has sent before one is killed, and after it came back.
const FIRST_ACT: u64 = 400;
const LAST_ACT: u64 = 400;

/// What the demo found out.
#[derive(Clone, Debug)]
struct Account {
    audit: Audit,
    promises: Promises,
    /// Messages that arrived sealed and signed.
    sealed_and_signed: u64,
    rtt_p50: Duration,
    rtt_p99: Duration,
    /// From the sending of a Critical message to its arrival in the application, while a large one was under way.
    critical_wait_p99: Duration,
    /// From the kill to the last other node's first sign of suspicion.
    detect: Duration,
    /// From the start of the process to the last other node's session with it.
    reconnect: Duration,
    /// What carried the sessions of each node.
    transports: [Transport; NODES],
}

impl Account {
    fn is_sound(&self) -> bool {
        self.audit.lost == 0 && self.audit.duplicates == 0 && self.promises.lost == 0
    }
}

/// What `--json` prints. The names are stable; docs/cli.md explains them.
#[derive(Debug, Serialize)]
struct Fields {
    sent: u64,
    delivered: u64,
    expired: u64,
    dropped: u64,
    unconfirmed: u64,
    lost: u64,
    duplicates: u64,
    repeated: u64,
    sealed_and_signed: u64,
    guaranteed: u64,
    guaranteed_lost: u64,
    guaranteed_repeated: u64,
    rtt_p50_us: u64,
    rtt_p99_us: u64,
    critical_wait_p99_us: u64,
    detect_ms: f64,
    reconnect_ms: f64,
    transports: [Transport; NODES],
}

impl From<&Account> for Fields {
    fn from(account: &Account) -> Self {
        let Account { audit, promises, sealed_and_signed, rtt_p50, rtt_p99, .. } = account;
        let Account { critical_wait_p99, detect, reconnect, transports, .. } = account;
        Self {
            sent: audit.sent,
            delivered: audit.delivered,
            expired: audit.expired,
            dropped: audit.dropped(),
            unconfirmed: audit.unconfirmed,
            lost: audit.lost,
            duplicates: audit.duplicates,
            repeated: audit.repeated,
            sealed_and_signed: *sealed_and_signed,
            guaranteed: promises.accepted,
            guaranteed_lost: promises.lost,
            guaranteed_repeated: promises.repeated,
            rtt_p50_us: micros(*rtt_p50),
            rtt_p99_us: micros(*rtt_p99),
            critical_wait_p99_us: micros(*critical_wait_p99),
            detect_ms: millis(*detect),
            reconnect_ms: millis(*reconnect),
            transports: *transports,
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds, to a thousandth.
fn millis(span: Duration) -> f64 {
    micros(span) as f64 / 1000.0
}

/// The sample below which this share of all lies, by nearest rank; nothing of none.
fn quantile(sorted_us: &[u64], share: f64) -> Duration {
    let rank = (sorted_us.len() as f64 * share).ceil() as usize;
    Duration::from_micros(sorted_us.get(rank.saturating_sub(1)).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_by_nearest_rank() {
        let samples: Vec<u64> = (1..=200).collect();

        assert_eq!(quantile(&samples, 0.50), Duration::from_micros(100));
        assert_eq!(quantile(&samples, 0.99), Duration::from_micros(198));
        assert_eq!(quantile(&[7], 0.99), Duration::from_micros(7));
        assert_eq!(quantile(&[], 0.99), Duration::ZERO);
    }
}
