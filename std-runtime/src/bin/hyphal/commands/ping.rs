//! `hyphal ping`: round trips over the encrypted session, told as `ping` tells them.
//!
//! A ping is answered by the peer's node, not by its application. One is under way at a time.

use std::time::Duration;

use hyphal::address::PeerAddr;
use hyphal::{Cipher, Node, PeerError};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use super::reach;
use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, PingArgs};
use crate::output::{self, Exit, Failure, Results};

/// Pings until there were enough, or a signal.
pub(crate) fn run(global: &Global, args: &PingArgs) -> Result<Exit, Failure> {
    let mut setup = Setup::load(global, &args.visitor.node, Key::of(args.visitor.ephemeral_key))?;
    setup.dial_only();
    let peer = setup.select(&args.target)?;
    output::start_quiet_logs(global, &setup.config.log, "error");
    start::block_on(&setup.config, serve(&setup, &peer, args))
}

async fn serve(setup: &Setup, peer: &PeerAddr, args: &PingArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let node = setup.start().await?;
    let timeouts = &setup.config.timeouts;
    let deadline = Instant::now() + timeouts.connect + timeouts.handshake;
    let connected = tokio::select! {
        connected = reach::session(&node, &setup.config.network, peer.id, deadline) => connected,
        () = signals.recv() => return Ok(Exit::Interrupted),
    };
    connected.map_err(|obstacle| {
        Failure::new(
            Exit::Unreachable,
            format!("no answer from {peer}: {}", obstacle.message),
            obstacle.remedy,
        )
    })?;

    let begin = Instant::now();
    let mut tally = Tally::default();
    let mut results = Results::new();
    let is_interrupted = tokio::select! {
        done = exchange(&node, peer, args, &mut tally, &mut results) => {
            done?;
            false
        }
        () = signals.recv() => true,
    };
    let summary = tally.tell(peer, begin.elapsed(), args.json, &mut results);
    if is_interrupted {
        output::farewell(summary).await?;
    } else {
        tokio::select! {
            told = summary => told?,
            () = signals.recv() => {}
        }
    }
    start::shut_down(&node, Duration::ZERO).await;
    Ok(match args.count {
        Some(_) if is_interrupted => Exit::Interrupted,
        _ if tally.rtts.is_empty() => Exit::Unreachable,
        _ => Exit::Done,
    })
}

async fn exchange(
    node: &Node,
    peer: &PeerAddr,
    args: &PingArgs,
    tally: &mut Tally,
    results: &mut Results,
) -> Result<(), Failure> {
    if !args.json {
        results.text(&format!("PING {peer}\n")).await?;
    }
    let mut ticks = tokio::time::interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while args.count.is_none_or(|count| tally.sent < count) {
        ticks.tick().await;
        tally.sent += 1;
        let answer = tokio::time::timeout(args.interval.max(LEAST_PATIENCE), node.ping(peer.id)).await;
        let sequence = tally.sent;
        let line = match answer {
            Ok(Ok(rtt)) => {
                tally.handle_answer(rtt);
                if tally.cipher.is_none() {
                    let peers = node.peers().await;
                    tally.cipher =
                        peers.iter().find(|info| info.status.id == peer.id).and_then(|info| info.cipher);
                }
                format!("answer from {}: seq={sequence} time={:.3} ms", peer.endpoint, millis(rtt))
            }
            Ok(Err(PeerError::NotConnected)) => format!("no session with {peer}: seq={sequence}"),
            Ok(Err(error)) => format!("{error}: seq={sequence}"),
            Err(_) => format!("no answer in time: seq={sequence}"),
        };
        if !args.json {
            results.text(&format!("{line}\n")).await?;
        }
    }
    Ok(())
}

/// How long an answer is waited for, unless the interval is longer. A slow link is no reason to call an answer missing, and a
/// peer that is gone ends the session, and so the wait, before.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

/// The statistics so far. Sums only, so that it can run for ever.
#[derive(Default)]
struct Tally {
    sent: u64,
    rtts: Rtts,
    /// What seals the session, once there was an answer.
    cipher: Option<Cipher>,
}

#[derive(Default)]
struct Rtts {
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Tally {
    fn handle_answer(&mut self, rtt: Duration) {
        self.rtts.push(millis(rtt));
    }

    async fn tell(
        &self,
        peer: &PeerAddr,
        elapsed: Duration,
        is_json: bool,
        results: &mut Results,
    ) -> Result<(), Failure> {
        let summary = Summary::new(peer, self, elapsed);
        if is_json {
            return results.json(&summary).await;
        }
        let mut text = format!(
            "\n--- {peer} ---\n{} pings, {} answers, {}% loss, {} ms\n",
            summary.sent, summary.received, summary.loss_percent, summary.elapsed_ms
        );
        if let Some(cipher) = summary.cipher {
            text += &format!("sealed with {cipher}\n");
        }
        if let Some(Statistics { min, avg, max, mdev }) = summary.rtt_ms {
            text += &format!("rtt min/avg/max/mdev = {min:.3}/{avg:.3}/{max:.3}/{mdev:.3} ms\n");
        }
        results.text(&text).await
    }
}

impl Rtts {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn push(&mut self, rtt: f64) {
        self.min = if self.is_empty() { rtt } else { self.min.min(rtt) };
        self.max = self.max.max(rtt);
        self.count += 1;
        self.sum += rtt;
        self.sum_of_squares += rtt * rtt;
    }

    fn statistics(&self) -> Option<Statistics> {
        if self.is_empty() {
            return None;
        }
        let count = self.count as f64;
        let avg = self.sum / count;
        // The standard deviation, as ping calculates its mdev; rounding may put it a little below 0.
        let mdev = (self.sum_of_squares / count - avg * avg).max(0.0).sqrt();
        Some(Statistics { min: self.min, avg, max: self.max, mdev })
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    peer: String,
    sent: u64,
    received: u64,
    loss_percent: u64,
    elapsed_ms: u128,
    rtt_ms: Option<Statistics>,
    cipher: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Statistics {
    min: f64,
    avg: f64,
    max: f64,
    mdev: f64,
}

impl Summary {
    fn new(peer: &PeerAddr, tally: &Tally, elapsed: Duration) -> Self {
        let lost = tally.sent - tally.rtts.count;
        Self {
            peer: peer.to_string(),
            sent: tally.sent,
            received: tally.rtts.count,
            loss_percent: (lost * 100).checked_div(tally.sent).unwrap_or(0),
            elapsed_ms: elapsed.as_millis(),
            rtt_ms: tally.rtts.statistics(),
            cipher: tally.cipher.map(Cipher::name),
        }
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_are_those_of_ping() {
        let mut rtts = Rtts::default();
        assert_eq!(rtts.statistics(), None);

        [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|rtt| rtts.push(rtt));

        let Statistics { min, avg, max, mdev } = rtts.statistics().unwrap();
        assert_eq!((min, avg, max), (1.0, 3.0, 6.0));
        assert!((mdev - 3.5_f64.sqrt()).abs() < 1e-9, "{mdev}");
    }
}
