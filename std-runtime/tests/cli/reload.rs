//! A running node and its configuration file: edits of all kinds, SIGHUP, and mistakes that leave everything as it was.

use hyphal::trust::{self, Certificate, Existing};
use hyphal::{Identity, NodeType, UnixTime};
use serde_json::Value;

use crate::home::Home;
use crate::process::Process;

#[test]
fn a_peer_that_is_written_into_the_file_is_dialled_and_one_that_is_taken_out_is_let_go() {
    let home = Home::new();
    let (peer, id, address) = peer(&home, "peer");
    let node = node(&home, "");

    home.write("a.toml", &format!("{BASE}peers = [\"{address}\"]\n"));
    let [reloaded, up] = events(&node, ["reloaded", "peer_up"]);
    assert_eq!((&reloaded["added"], &up["peer"]), (&Value::from(vec![id.clone()]), &Value::from(id.clone())));

    home.write("a.toml", &format!("{BASE}peers = []\n"));
    let [reloaded, gone] = events(&node, ["reloaded", "peer_removed"]);
    assert_eq!((&reloaded["removed"], &gone["peer"]), (&Value::from(vec![id.clone()]), &Value::from(id)));
    assert_eq!(peer.event("peer_down")["reason"], "PeerRemoved");
}

#[cfg(unix)]
#[test]
fn the_file_is_read_at_sighup_too_and_the_log_says_what_came_of_it() {
    let home = Home::new();
    let node = node(&home, "");

    node.signal(rustix::process::Signal::HUP);

    assert_eq!(node.event("reloaded")["added"], Value::from(Vec::<String>::new()));
    node.err_after("configuration reloaded: the same peers and trust");
}

#[cfg(unix)]
#[test]
fn a_node_without_a_file_outlives_sighup() {
    let home = Home::new();
    home.keygen("a");
    let node = home.start(&["node", "--json", "--key", "a.key", "--listen", "127.0.0.1:0"]);
    node.event("started");

    node.signal(rustix::process::Signal::HUP);

    node.event("reloaded");
}

#[test]
fn a_file_that_is_replaced_by_renaming_is_read() {
    let home = Home::new();
    let node = node(&home, "");
    let (_peer, id, address) = peer(&home, "peer");

    home.replace("a.toml", &format!("{BASE}peers = [\"{address}\"]\n"));

    assert_eq!(node.event("peer_up")["peer"], id);
}

#[cfg(unix)]
#[test]
fn a_link_that_is_swapped_as_in_containers_is_followed() {
    use std::os::unix::fs::symlink;
    let home = Home::new();
    home.keygen("a");
    let (_peer, id, address) = peer(&home, "peer");
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir_all(at("etc/..1")).unwrap();
    std::fs::create_dir_all(at("etc/..2")).unwrap();
    let base = BASE.replace("a.key", &at("a.key").display().to_string());
    std::fs::write(at("etc/..1/a.toml"), &base).unwrap();
    std::fs::write(at("etc/..2/a.toml"), format!("{base}peers = [\"{address}\"]\n")).unwrap();
    symlink("..1", at("etc/..data")).unwrap();
    symlink("..data/a.toml", at("etc/a.toml")).unwrap();
    let node = home.start(&["node", "--json", "--config", "etc/a.toml"]);
    node.event("started");

    symlink("..2", at("etc/..data_tmp")).unwrap();
    std::fs::rename(at("etc/..data_tmp"), at("etc/..data")).unwrap();

    assert_eq!(node.event("peer_up")["peer"], id);
}

#[test]
fn each_wrong_edit_is_refused_with_its_place_and_nothing_changes() {
    let home = Home::new();
    let (peer, id, address) = peer(&home, "peer");
    let right = format!("{BASE}peers = [\"{address}\"]\n");
    let node = node(&home, &format!("peers = [\"{address}\"]\n"));
    node.event("peer_up");
    let own = home.hyphal(&["id", "--key", "a.key"]).out.trim().to_owned();

    for (edit, problem, remedy) in [
        ("peers = [".to_owned(), "a.toml:3: not valid TOML", "docs/configuration.md"),
        ("perrs = []".to_owned(), "a.toml:3: perrs: there is no such setting", "did you mean peers?"),
        ("peers = [\"nobody\"]".to_owned(), "a.toml:3: peers: ", "ID@HOST:PORT"),
        (format!("peers = [\"{own}@host\"]"), "a.toml:3: peers: ", "allowed: "),
        ("[trust]\npolicy = \"some\"".to_owned(), "a.toml:4: trust.policy: ", "open, pinned"),
        ("[trust]\nadmit = [\"hy1qqqq\"]".to_owned(), "a.toml:4: trust.admit: ", "as `hyphal id` prints it"),
        ("[log]\nfilter = \"loud,,=\"".to_owned(), "a.toml:4: log.filter: ", "allowed: "),
        (format!("peers = [\"{address}\", \"{address}\"]"), "is listed twice", "one address for each peer"),
        (format!("peers = [\"{own}@memory://a\"]"), "joins nodes of one process", "write HOST:PORT"),
        (format!("peers = [\"{own}@host:1\"]"), "is this node's own", "check the list of peers"),
    ] {
        home.replace("a.toml", &format!("{BASE}{edit}\n"));

        let refused = node.event("reload_refused");

        let (told, help) = (refused["problem"].as_str().unwrap(), refused["remedy"].as_str().unwrap());
        assert!(told.contains(problem), "{edit}: {told}");
        assert!(help.contains(remedy), "{edit}: {help}");
        let logged = node.err_after("configuration not reloaded, the old one stays in force: ");
        assert!(logged.contains(problem) && logged.contains(help), "{edit}: {logged}");
        assert_eq!(logged.matches(help).count(), 1, "{edit}: {logged}");
    }
    home.write("a.toml", "");
    let refused = node.event("reload_refused");
    assert!(refused["problem"].as_str().unwrap().contains("the file is empty"), "{refused}");
    std::fs::remove_file(home.path().join("a.toml")).unwrap();
    let refused = node.event("reload_refused");
    assert!(refused["problem"].as_str().unwrap().contains("cannot read the configuration file"), "{refused}");

    // The session has heard nothing of all that, and the right file is taken as what it is.
    home.write("a.toml", &right);
    let reloaded = node.event("reloaded");
    assert!(is_empty(&reloaded), "{reloaded}");
    drop(peer);
    assert_eq!(node.event("peer_down")["peer"], id, "the first that was heard of it");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    // Whoever may read everything cannot try this.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let node = node(&home, "");

    std::fs::set_permissions(home.path().join("a.toml"), PermissionsExt::from_mode(0o000)).unwrap();

    let refused = node.event("reload_refused");
    assert!(refused["problem"].as_str().unwrap().contains("cannot read the configuration file"), "{refused}");
}

#[test]
fn a_directory_in_the_place_of_the_file_is_refused() {
    let home = Home::new();
    let node = node(&home, "");
    let path = home.path().join("a.toml");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();

    let refused = node.event("reload_refused");
    assert!(refused["problem"].as_str().unwrap().contains("cannot read the configuration file"), "{refused}");
}

#[test]
fn strangers_are_let_go_when_the_file_pins_and_admitted_when_it_names_them() {
    let home = Home::new();
    let (node, address) = node_at(&home, "");
    let id = home.keygen("visitor");
    let visitor =
        home.start(&["node", "--json", "--key", "visitor.key", "--set", "listen=", "--peer", &address]);
    assert_eq!(node.event("peer_up")["peer"], id);

    home.write("a.toml", &format!("{BASE}[trust]\npolicy = \"pinned\"\n"));

    let [reloaded, down] = events(&node, ["reloaded", "peer_down"]);
    assert_eq!(reloaded["trust"], "pinned");
    assert_eq!((&down["peer"], &down["reason"]), (&Value::from(id.clone()), &"Untrusted".into()));
    visitor.event("peer_down");
    drop(visitor);

    home.write("a.toml", &format!("{BASE}[trust]\npolicy = \"pinned\"\nadmit = [\"{id}\"]\n"));
    assert_eq!(node.event("reloaded")["added"], Value::from(vec![id.clone()]));
    let _visitor = home.start(&["node", "--key", "visitor.key", "--set", "listen=", "--peer", &address]);
    assert_eq!(node.event("peer_up")["peer"], id);
}

#[test]
fn settings_that_count_from_the_next_start_on_are_named_and_stay() {
    let home = Home::new();
    let node = node(&home, "");

    home.write("a.toml", &format!("{BASE}network = \"other\"\n[limits]\nmax_peers = 7\n"));

    let reloaded = node.event("reloaded");
    assert_eq!(reloaded["next_start"], Value::from(vec!["network", "limits.max_peers"]));
    let logged = node.err_after("these settings count from the next start on");
    assert!(logged.contains("network, limits.max_peers"), "{logged}");
    // It still is in the old network.
    let (_peer, id, address) = peer(&home, "peer");
    home.write("a.toml", &format!("{BASE}network = \"other\"\npeers = [\"{address}\"]\n"));
    assert_eq!(node.event("peer_up")["peer"], id);
}

#[test]
fn a_certificate_that_the_file_names_is_taken_when_it_comes_and_when_it_changes() {
    let home = Home::new();
    let (node, _) = node_at(&home, "");
    let id = home.hyphal(&["id", "--key", "a.key"]).out.trim().parse().unwrap();
    let authority = Identity::from_seed(&authority_seed()).unwrap();
    let issue = |serial| {
        let certificate = Certificate {
            authority: authority.id(),
            serial,
            node: id,
            node_type: NodeType::Sclerotia,
            roles: trust::Roles::NONE,
            not_before: UnixTime::from_micros(0),
            not_after: UnixTime::from_micros(u64::MAX / 2),
            signature: [0; 64],
        };
        let signed = trust::sign_certificate(&authority, trust::Network::of("hyphal"), certificate).unwrap();
        trust::write_certificate(&home.path().join("a.cert"), &signed, Existing::Replace).unwrap();
    };

    home.replace("a.toml", &format!("{BASE}[trust]\ncertificate = \"a.cert\"\n"));
    let refused = node.event("reload_refused");
    assert!(refused["problem"].as_str().unwrap().contains("a.cert"), "{refused}");

    for serial in [1, 2] {
        issue(serial);
        let reloaded = node.event("reloaded");
        assert!(is_empty(&reloaded) && reloaded["certificates"] == true, "{reloaded}");
        node.err_after("configuration reloaded");
    }
}

/// A seed that is an identity's.
fn authority_seed() -> [u8; 32] {
    (0..=u8::MAX).map(|byte| [byte; 32]).find(|seed| Identity::from_seed(seed).is_ok()).unwrap()
}

#[test]
fn the_log_level_changes_at_once() {
    let home = Home::new();
    let node = node(&home, "[log]\nfilter = \"warn\"\n");

    home.write("a.toml", &format!("{BASE}[log]\nfilter = \"info\"\n"));

    node.err_after("configuration reloaded");
}

#[test]
fn what_the_command_line_sets_stays_whatever_the_file_says() {
    let home = Home::new();
    home.keygen("a");
    let (_peer, id, address) = peer(&home, "peer");
    let (_other, other, elsewhere) = peer(&home, "other");
    home.write("a.toml", BASE);
    let node = home.start(&["node", "--json", "--config", "a.toml", "--peer", &address]);
    assert_eq!(node.event("peer_up")["peer"], id);

    home.write("a.toml", &format!("{BASE}peers = [\"{elsewhere}\"]\n"));

    let reloaded = node.event("reloaded");
    assert!(is_empty(&reloaded), "{other} is not dialled: {reloaded}");
}

#[test]
fn a_storm_of_edits_ends_with_the_last_one() {
    let home = Home::new();
    let (_peer, id, address) = peer(&home, "peer");
    let node = node(&home, "");

    for round in 0..200 {
        let edit = match round % 4 {
            0 => format!("{BASE}peers = [\"{address}\"]\n"),
            1 => format!("{BASE}peers = [\n"),
            2 => String::new(),
            _ => BASE.to_owned(),
        };
        home.write("a.toml", &edit);
    }
    home.write("a.toml", &format!("{BASE}peers = [\"{address}\"] # the last\n"));

    assert_eq!(node.event("peer_up")["peer"], id);
}

/// The file that every test begins with: two lines.
const BASE: &str = "key = \"a.key\"\nlisten = [\"127.0.0.1:0\"]\n";

/// A node with this file, which begins with [`BASE`].
fn node(home: &Home, rest: &str) -> Process {
    node_at(home, rest).0
}

/// The same, and where others reach it.
fn node_at(home: &Home, rest: &str) -> (Process, String) {
    home.keygen("a");
    home.write("a.toml", &format!("{BASE}{rest}"));
    let node = home.start(&["node", "--json", "--config", "a.toml"]);
    let address = node.event("started")["addresses"][0].as_str().unwrap().to_owned();
    (node, address)
}

/// Another node with a fresh key of this name, its id and where it is reached.
fn peer(home: &Home, name: &str) -> (Process, String, String) {
    let id = home.keygen(name);
    let key = format!("{name}.key");
    let peer = home.start(&["node", "--json", "--key", &key, "--listen", "127.0.0.1:0"]);
    let address = peer.event("started")["addresses"][0].as_str().unwrap().to_owned();
    (peer, id, address)
}

/// The first lines of these kinds, in whichever order they come.
fn events<const N: usize>(node: &Process, names: [&str; N]) -> [Value; N] {
    let mut found = [const { Value::Null }; N];
    while found.iter().any(Value::is_null) {
        let line = node.json();
        if let Some(at) = names.iter().position(|name| line["event"] == *name) {
            found[at] = line;
        }
    }
    found
}

fn is_empty(reloaded: &Value) -> bool {
    ["added", "changed", "removed"].iter().all(|list| reloaded[list].as_array().unwrap().is_empty())
}
