//! Round trips on the command line: the lines and the summary, for people and as JSON.

use serde_json::Value;

use crate::home::{DeafPort, Home};
#[cfg(unix)]
use crate::process::Process;

#[test]
fn every_answer_has_a_line_and_the_end_a_summary() {
    let home = Home::new();
    let (_peer, address) = home.listen(&[]);

    let ran = home.hyphal(&["ping", &address, "--ephemeral-key", "-c", "3", "-i", "10ms"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], format!("PING {address}"));
    for (line, sequence) in lines[1..4].iter().zip(1..) {
        assert!(
            line.starts_with("answer from 127.0.0.1:") && line.contains(&format!(": seq={sequence} time=")),
            "{line}"
        );
    }
    assert!(ran.out.contains("\n3 pings, 3 answers, 0% loss, "), "{ran:?}");
    assert!(lines.last().unwrap().starts_with("rtt min/avg/max/mdev = "), "{ran:?}");
}

#[test]
fn json_is_one_object_with_ordered_statistics() {
    let home = Home::new();
    let (_peer, address) = home.listen(&[]);

    let ran = home.hyphal(&["ping", &address, "--ephemeral-key", "-c", "5", "-i", "10ms", "--json"]);

    let summary: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(
        (&summary["peer"], &summary["sent"], &summary["received"]),
        (&address.into(), &5.into(), &5.into())
    );
    assert_eq!(summary["loss_percent"], 0);
    let [min, avg, max] = ["min", "avg", "max"].map(|name| summary["rtt_ms"][name].as_f64().unwrap());
    assert!(0.0 < min && min <= avg && avg <= max, "{summary}");
    assert!(["AES-256-GCM", "ChaCha20-Poly1305"].contains(&summary["cipher"].as_str().unwrap()));
    assert!(summary["rtt_ms"]["mdev"].is_number() && summary["elapsed_ms"].is_number(), "{summary}");
}

#[test]
fn a_peer_that_is_down_has_a_reason() {
    let home = Home::new();
    let port = DeafPort::new();
    let address = port.address_of(&home.keygen("peer"));

    let ran = home.hyphal(&["ping", &address, "--ephemeral-key"]);

    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("it cannot be reached") && ran.err.contains("help: check that"), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_with_the_summary() {
    use rustix::process::Signal;
    let home = Home::new();
    let (_peer, address) = home.listen(&[]);
    for (arguments, expected) in [(&[][..], 0), (&["-c", "1000000"][..], 130)] {
        let ping = home.start(&[&["ping", &address, "--ephemeral-key", "-i", "10ms"], arguments].concat());
        while !ping.line().contains(" time=") {}

        ping.signal(Signal::INT);

        let (code, rest, err) = ping.end();
        assert_eq!(code, Some(expected), "{err}");
        assert!(rest.last().unwrap().starts_with("rtt min/avg/max/mdev = "), "{rest:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_stopped_does_not_keep_a_signal_from_ending_the_command() {
    let home = Home::new();
    home.keygen("peer");
    let peer = home.start(&["node", "--json", "--key", "peer.key", "--listen", "127.0.0.1:0"]);
    let address = peer.event("started")["addresses"][0].as_str().unwrap().to_owned();
    let ping = Process::start_stalled(&mut home.command(&["ping", &address, "--ephemeral-key"]));
    peer.event("peer_up");

    ping.signal(rustix::process::Signal::INT);

    let (code, _, err) = ping.end();
    assert!(matches!(code, Some(4 | 130)), "{code:?} {err}");
}
