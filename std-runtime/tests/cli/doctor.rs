//! The doctor finds what is wrong, says what to do, and its exit code names the gravest failure.

use std::net::TcpListener;

use crate::home::{DeafPort, Home, Ran};
use serde_json::Value;

#[test]
fn a_fresh_home_lacks_only_its_key() {
    let home = Home::new();

    let ran = home.hyphal(&["doctor", "--json", "--listen", "127.0.0.1:0"]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(outcome(&ran, "key"), "fail");
    assert_eq!(outcome(&ran, "config"), "ok");
    assert_eq!(outcome(&ran, "port"), "ok");
    assert!(ran.out.contains("run: hyphal keygen"), "{ran:?}");
}

#[test]
fn a_node_with_everything_in_place_passes() {
    let home = home_with_key();
    let (_peer, address) = home.listen(&[]);

    let ran = home.hyphal(&["doctor", "--json", "--listen", "127.0.0.1:0", "--peer", &address]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    for subject in ["key", "config", "port", "peer"] {
        assert_eq!(outcome(&ran, subject), "ok", "{ran:?}");
    }
    assert_eq!(report(&ran)["ok"], true);
}

#[test]
fn a_port_in_use_is_a_failure_of_this_machine() {
    let home = home_with_key();
    let user = TcpListener::bind("127.0.0.1:0").unwrap();

    let ran = home.hyphal(&["doctor", "--json", "--listen", &user.local_addr().unwrap().to_string()]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(outcome(&ran, "port"), "fail");
}

#[test]
fn a_peer_that_does_not_listen_is_unreachable() {
    let home = home_with_key();
    let port = DeafPort::new();
    let address = port.address_of(&other_id(&home));

    let ran = home.hyphal(&["doctor", "--listen", "127.0.0.1:0", "--peer", &address]);

    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(
        ran.out.contains("cannot be reached") && ran.out.contains("help: check that its node runs"),
        "{ran:?}"
    );
}

#[test]
fn a_peer_that_refuses_this_node_is_told_with_the_id_that_it_lacks() {
    let home = home_with_key();
    let own = home.hyphal(&["id"]).out;
    let (_peer, address) = home.listen(&["--trust", "pinned"]);

    let ran = home.hyphal(&["doctor", "--listen", "127.0.0.1:0", "--peer", &address]);

    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.out.contains(&format!("does not admit this node, {}", own.trim())), "{ran:?}");
    assert!(ran.out.contains("help: add that id"), "{ran:?}");
}

#[test]
fn without_a_key_the_peers_are_not_checked() {
    let home = Home::new();
    let (_peer, address) = home.listen(&[]);

    let ran = home.hyphal(&["doctor", "--json", "--listen", "127.0.0.1:0", "--peer", &address]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(outcome(&ran, "peer"), "warn");
}

#[test]
fn beside_a_running_node_its_sessions_are_left_alone() {
    let home = home_with_key();
    home.keygen("peer");
    let peer = home.start(&["node", "--json", "--key", "peer.key", "--listen", "127.0.0.1:0"]);
    let address = peer.json()["addresses"][0].as_str().unwrap().to_owned();
    let node = home.start(&["node", "--json", "--listen", "127.0.0.1:0", "--peer", &address]);
    let own = node.json();
    let port = own["addresses"][0].as_str().unwrap().split_once('@').unwrap().1;
    assert_eq!(peer.event("peer_up")["peer"], own["id"]);

    let ran = home.hyphal(&["doctor", "--json", "--listen", port, "--peer", &address]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(outcome(&ran, "peer"), "ok");
    let other = peer.event("peer_up");
    assert_ne!(other["peer"], own["id"], "the doctor came with the key of the running node");
}

/// Its certificate is not for the fresh key that the doctor takes then.
#[test]
fn beside_a_running_node_of_a_certified_network_the_peers_are_met_without_its_certificate() {
    let home = home_with_key();
    home.keygen("peer");
    let authority = home.hyphal(&["ca", "init", "--dir", "ca", "--network", "garden"]).out;
    for (name, key) in [("own", None), ("peer", Some("peer.key"))] {
        let id = match key {
            None => home.hyphal(&["id"]),
            Some(key) => home.hyphal(&["id", "--key", key]),
        };
        let out = format!("{name}.certificate");
        let issue = ["ca", "issue", id.out.trim(), "--node-type", "sclerotia", "--dir", "ca", "--out", &out];
        assert_eq!(home.hyphal(&issue).code, Some(0));
        let key = key.map(|key| format!("key = \"{key}\"\n")).unwrap_or_default();
        let text = format!(
            "{key}network = \"garden\"\nlisten = [\"127.0.0.1:0\"]\n[trust]\npolicy = \"certified\"\n\
             authorities = [\"{}\"]\ncertificate = \"{out}\"\n",
            authority.trim()
        );
        home.write(&format!("{name}.toml"), &text);
    }
    let peer = home.start(&["node", "--json", "--config", "peer.toml"]);
    let address = peer.json()["addresses"][0].as_str().unwrap().to_owned();
    let node = home.start(&["node", "--json", "--config", "own.toml", "--peer", &address]);
    let own = node.json();
    let port = own["addresses"][0].as_str().unwrap().split_once('@').unwrap().1.to_owned();
    peer.event("peer_up");

    let ran =
        home.hyphal(&["doctor", "--json", "--config", "own.toml", "--listen", &port, "--peer", &address]);

    assert_eq!(
        (outcome(&ran, "peer"), outcome(&ran, "trust")),
        ("ok".to_owned(), "warn".to_owned()),
        "{ran:?}"
    );
    assert!(ran.out.contains("is not checked while a node runs here"), "{ran:?}");
}

#[test]
fn a_peer_is_told_with_the_profile_and_with_what_an_adaptive_pair_falls_back_to() {
    let home = home_with_key();
    let (_peer, address) = home.listen(&["--node-type", "rhizomorph", "--set", "compression.accept=lz4"]);

    let ran = home.hyphal(&["doctor", "--listen", "127.0.0.1:0", "--peer", &address]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told = "profile Adaptive, fallen back (the peer takes no Zstandard: compression Low)";
    assert!(ran.out.contains(told), "{ran:?}");
}

#[test]
fn a_store_is_looked_at_and_left_as_it_is() {
    let home = home_with_key();
    home.keygen("other");
    let doctor = |key: &[&str]| {
        let store = ["doctor", "--json", "--listen", "127.0.0.1:0", "--store", "kept"];
        home.hyphal(&[&store, key].concat())
    };

    let missing = doctor(&[]);
    assert_eq!((missing.code, outcome(&missing, "store")), (Some(0), "ok".to_owned()), "{missing:?}");
    assert!(!home.path().join("kept").exists());

    let node = home.start(&["node", "--listen", "127.0.0.1:0", "--store", "kept"]);
    assert!(node.line().starts_with("id "));
    let taken = doctor(&[]);
    assert_eq!((taken.code, outcome(&taken, "store")), (Some(3), "fail".to_owned()), "{taken:?}");
    assert!(taken.out.contains("in use by another process"), "{taken:?}");
    drop(node);

    let good = doctor(&[]);
    assert_eq!((good.code, outcome(&good, "store")), (Some(0), "ok".to_owned()), "{good:?}");
    let foreign = doctor(&["--key", "other.key"]);
    assert!(foreign.code == Some(3) && foreign.out.contains("belongs to node"), "{foreign:?}");
    home.write("kept/guaranteed.store", "something else");
    let damaged = doctor(&[]);
    assert!(damaged.code == Some(3) && damaged.out.contains("is damaged"), "{damaged:?}");
}

#[test]
fn settings_that_make_no_sense_together_are_found() {
    let home = home_with_key();
    let own = home.hyphal(&["id"]).out;
    let cases: [(&[&str], &str, &str); 4] = [
        (&["--trust", "pinned"], "fail", "nobody can connect"),
        (&["--set", "listen="], "fail", "neither listens nor has peers"),
        (&["--listen", "0.0.0.0:0"], "warn", "from outside of this machine"),
        (&["--peer", &format!("{}@127.0.0.1:1", own.trim())], "fail", "this node's own id"),
    ];
    for (arguments, expected, message) in cases {
        let ran = home.hyphal(&[&["doctor", "--json", "--set", "listen=127.0.0.1:0"], arguments].concat());

        assert_eq!(outcome(&ran, "config"), expected, "{arguments:?}: {ran:?}");
        assert!(ran.out.contains(message), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_broken_configuration_does_not_keep_the_doctor_from_reporting_it() {
    let home = home_with_key();
    home.write("bad.toml", "network = 5\n");

    let ran = home.hyphal(&["doctor", "--config", "bad.toml", "--json"]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(outcome(&ran, "config"), "fail");
    assert!(ran.out.contains("bad.toml:1: network: a name is expected, not an integer"), "{ran:?}");
}

fn home_with_key() -> Home {
    let home = Home::new();
    assert_eq!(home.hyphal(&["keygen"]).code, Some(0));
    home
}

fn other_id(home: &Home) -> String {
    home.hyphal(&["keygen", "--out", "other.key"]).out.trim().to_owned()
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The outcome of the first check of this subject.
fn outcome(ran: &Ran, subject: &str) -> String {
    let report = report(ran);
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["subject"] == subject);
    check.unwrap_or_else(|| panic!("no check of {subject}: {ran:?}"))["outcome"].as_str().unwrap().to_owned()
}
