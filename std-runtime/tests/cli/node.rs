//! A node that runs: what it prints, how it ends, what it tells of its peers.

use std::net::TcpListener;

use crate::home::Home;
use crate::process::Process;

#[test]
fn a_node_prints_an_address_that_others_can_use() {
    let home = Home::new();
    let id = home.keygen("a");

    let node = home.start(&["node", "--key", "a.key", "--listen", "127.0.0.1:0"]);

    assert_eq!(node.line(), format!("id       {id}"));
    let address = node.line();
    let address = address.strip_prefix("address  ").unwrap();
    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", address, "hello"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.out, format!("delivered {id}\n"));
}

#[test]
fn a_node_for_all_addresses_prints_one_that_is_not_unspecified() {
    let home = Home::new();

    let (_node, started) = started(&home, "a", &["--listen", "0.0.0.0:0"]);

    let address = started["addresses"][0].as_str().unwrap();
    assert!(!address.contains("@0.0.0.0:") && !address.ends_with(":0"), "{address}");
}

#[test]
fn a_node_that_is_turned_away_is_named_in_the_log() {
    let home = Home::new();
    let stranger = home.keygen("stranger");
    let (node, started) = started(&home, "a", &["--listen", "127.0.0.1:0", "--trust", "pinned"]);
    let address = started["addresses"][0].as_str().unwrap();

    let refused = home.hyphal(&["ping", "-c", "1", "--key", "stranger.key", address]);

    assert_eq!(refused.code, Some(4), "{refused:?}");
    let logged = node.err_after("connection rejected: ");
    assert!(logged.contains(&stranger), "{logged}");
}

#[cfg(unix)]
#[test]
fn the_first_signal_drains_and_ends_with_0() {
    use rustix::process::Signal;
    let home = Home::new();
    for signal in [Signal::INT, Signal::TERM] {
        let (node, _) = started(&home, "a", &["--listen", "127.0.0.1:0"]);

        node.signal(signal);

        assert_eq!(node.event("stopped")["drained"], true);
        let (code, rest, err) = node.end();
        assert_eq!((code, rest.len()), (Some(0), 0), "{rest:?} {err}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_stopped_does_not_keep_a_signal_from_ending_the_node() {
    let home = Home::new();
    let (peer, own) = started(&home, "a", &["--listen", "127.0.0.1:0"]);
    let address = own["addresses"][0].as_str().unwrap();
    home.keygen("b");
    for format in [&["--json"][..], &[]] {
        let arguments = [&["node", "--key", "b.key", "--set", "listen=", "--peer", address], format].concat();
        let node = Process::start_stalled(&mut home.command(&arguments));
        peer.event("peer_up");

        node.signal(rustix::process::Signal::INT);

        let (code, _, err) = node.end();
        assert_eq!(code, Some(0), "{err}");
        peer.event("peer_down");
    }
}

#[test]
fn a_peer_that_comes_and_is_killed_is_told_line_by_line() {
    let home = Home::new();
    let (node, own) = started(&home, "a", &["--listen", "127.0.0.1:0"]);
    let address = own["addresses"][0].as_str().unwrap();

    let (peer, other) = started(&home, "b", &["--listen", "127.0.0.1:0", "--peer", address]);
    let up = node.event("peer_up");
    drop(peer);
    let down = node.event("peer_down");

    assert_eq!(up["peer"], other["id"]);
    assert_eq!((&down["peer"], &down["reason"]), (&other["id"], &"LinkLost".into()));
}

#[test]
fn a_port_in_use_is_refused_with_the_remedy() {
    let home = Home::new();
    home.keygen("a");
    let user = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = user.local_addr().unwrap().to_string();

    let ran = home.hyphal(&["node", "--key", "a.key", "--listen", &address]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains(&format!("error: {address} is in use")), "{ran:?}");
    assert!(ran.err.contains("help: stop the program that uses it"), "{ran:?}");
}

#[test]
fn a_node_that_nobody_could_reach_is_refused() {
    let home = Home::new();
    home.keygen("a");

    let ran = home.hyphal(&["node", "--key", "a.key", "--set", "listen="]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("neither listens nor has peers"), "{ran:?}");
}

/// A node with the key of this name, made if there is none, and its first line.
fn started(home: &Home, key: &str, arguments: &[&str]) -> (Process, serde_json::Value) {
    let path = format!("{key}.key");
    if !home.path().join(&path).exists() {
        home.keygen(key);
    }
    let node = home.start(&[&["node", "--json", "--key", &path], arguments].concat());
    let line = node.event("started");
    (node, line)
}
