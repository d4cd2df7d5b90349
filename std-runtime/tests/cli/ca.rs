//! `hyphal ca`: an authority in a directory, wrong input refused with nothing half done, and a network that lives by it.

use std::fs;

use crate::home::{Home, Ran};
use serde_json::Value;

#[test]
fn an_authority_is_a_directory_for_its_owner_with_a_first_list() {
    let home = Home::new();

    let made = home.hyphal(&["ca", "init", "--dir", "ca", "--network", "garden", "--json"]);

    assert_eq!(made.code, Some(0), "{made:?}");
    let id = json(&made)["authority"].as_str().unwrap().to_owned();
    for file in ["authority.key", "register.json", "certificates", &format!("{id}.revocations")] {
        assert!(home.path().join("ca").join(file).exists(), "{file}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("ca"), mode("ca/authority.key")), (0o700, 0o600));
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left behind");
}

#[test]
fn an_authority_is_never_overwritten() {
    let home = with_authority();
    let key = fs::read(home.path().join("ca/authority.key")).unwrap();

    let again = home.hyphal(&["ca", "init", "--dir", "ca"]);

    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.err.contains("exists already"), "{again:?}");
    assert_eq!(fs::read(home.path().join("ca/authority.key")).unwrap(), key);
}

#[test]
fn certificates_are_issued_listed_renewed_and_revoked() {
    let home = with_authority();
    let node = home.keygen("node");
    let ca = |arguments: &[&str]| {
        let ran = home.hyphal(&[&["ca"], arguments, &["--dir", "ca", "--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        json(&ran)
    };

    let issued = ca(&[
        "issue",
        &node,
        "--node-type",
        "hyphae",
        "--role",
        "relay,role-16",
        "--days",
        "30",
        "--out",
        "a",
    ]);
    let renewed = ca(&["renew", "1", "--days", "60", "--role", "time"]);
    let revoked = ca(&["revoke", "1"]);

    assert_eq!((&issued["serial"], &issued["path"]), (&Value::from(1), &Value::from("a")));
    assert_eq!(issued["roles"], serde_json::json!(["relay", "role-16"]));
    assert_eq!((&renewed["serial"], &renewed["node_type"]), (&Value::from(2), &Value::from("hyphae")));
    assert_eq!(revoked["list"]["version"], 2);
    let (valid, all) = (ca(&["list"]), ca(&["list", "--all"]));
    let states = |listed: &Value| -> Vec<(u64, String)> {
        let entries = listed["certificates"].as_array().unwrap().iter();
        entries
            .map(|entry| (entry["serial"].as_u64().unwrap(), entry["state"].as_str().unwrap().to_owned()))
            .collect()
    };
    assert_eq!(states(&valid), [(2, "valid".to_owned())]);
    assert_eq!(states(&all), [(1, "revoked".to_owned()), (2, "valid".to_owned())]);
    assert_eq!(all["list"]["written"], true);
    assert_eq!(ca(&["revoke", "--refresh"])["list"]["version"], 3);
    assert_eq!(ca(&["revoke", &node])["revoked"], serde_json::json!([1, 2]), "all certificates of the node");
}

#[test]
fn wrong_input_is_refused_in_words_and_leaves_everything_as_it_was() {
    let home = with_authority();
    let node = home.keygen("node");
    home.write("taken", "precious");
    let before = fs::read(home.path().join("ca/register.json")).unwrap();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["issue", &node, "--node-type", "hyphae", "--days", "0"], 2, "0 is not in 1..=36500"),
        (&["issue", &node, "--node-type", "mushroom"], 2, "possible values"),
        (&["issue", &node, "--node-type", "hyphae", "--role", "king"], 2, "a role is relay"),
        (&["issue", "hy1qqqq", "--node-type", "hyphae"], 2, "a node id has 61 characters"),
        (&["issue", &node, "--node-type", "hyphae", "--out", "taken"], 3, "taken exists already"),
        (
            &["issue", &node, "--node-type", "hyphae", "--network", "moss"],
            2,
            "of the network garden, not moss",
        ),
        (&["revoke", "7"], 1, "has issued no certificate 7"),
        (&["revoke", "seven"], 2, "write the serial of a certificate"),
        (&["renew", &node], 1, "has issued no certificate"),
    ];

    for (arguments, code, message) in cases {
        let ran = home.hyphal(&[&["ca"], arguments, &["--dir", "ca"]].concat());

        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.err.contains(message), "{ran:?}");
    }
    assert_eq!(fs::read(home.path().join("ca/register.json")).unwrap(), before);
    assert_eq!(fs::read(home.path().join("taken")).unwrap(), b"precious");
    let nowhere = home.hyphal(&["ca", "list", "--dir", "nowhere"]);
    assert!(nowhere.code == Some(3) && nowhere.err.contains("hyphal ca init"), "{nowhere:?}");
}

#[test]
fn a_node_has_one_certificate_that_holds_unless_it_is_renewed() {
    let home = with_authority();
    let node = home.keygen("node");
    let issue = ["ca", "issue", &node, "--node-type", "hyphae", "--dir", "ca"];
    assert_eq!(home.hyphal(&issue).code, Some(0));

    let again = home.hyphal(&issue);

    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("hyphal ca renew 1 --dir ca;"), "{again:?}");
    assert_eq!(home.hyphal(&["ca", "revoke", "1", "--dir", "ca"]).code, Some(0));
    let renewed = home.hyphal(&["ca", "renew", "1", "--dir", "ca"]);
    assert!(renewed.code == Some(1) && renewed.err.contains("was revoked"), "{renewed:?}");
    assert_eq!(home.hyphal(&issue).code, Some(0), "a revoked node may get another one");
}

#[test]
fn of_two_that_make_an_authority_at_once_the_slower_hears_that_there_is_one() {
    let home = Home::new();
    let init = || home.hyphal(&["ca", "init", "--dir", "ca"]);

    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(init);
        (init(), first.join().unwrap())
    });

    let (made, refused) = if first.code == Some(0) { (first, second) } else { (second, first) };
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(refused.code == Some(3) && refused.err.contains("ca exists already"), "{refused:?}");
    let listed = home.hyphal(&["ca", "list", "--dir", "ca"]);
    assert!(listed.out.contains(made.out.trim()), "{listed:?}");
}

#[test]
fn a_damaged_or_missing_register_or_one_beside_another_key_is_refused() {
    let home = with_authority();
    let path = home.path().join("ca/register.json");
    let good = fs::read_to_string(&path).unwrap();

    for bad in [&good[..good.len() / 2], "{}", &good.replace("\"version\": 1", "\"version\": 2")] {
        fs::write(&path, bad).unwrap();
        let ran = home.hyphal(&["ca", "list", "--dir", "ca"]);
        assert!(ran.code == Some(3) && ran.err.contains("damaged"), "{ran:?}");
    }
    fs::remove_file(&path).unwrap();
    let ran = home.hyphal(&["ca", "list", "--dir", "ca"]);
    assert!(ran.code == Some(3) && ran.err.contains("there is no register at"), "{ran:?}");
    assert!(ran.err.contains("restore it from a copy"), "{ran:?}");
    fs::write(&path, &good).unwrap();
    home.hyphal(&["keygen", "--force", "--out", "ca/authority.key"]);
    let ran = home.hyphal(&["ca", "list", "--dir", "ca"]);
    assert!(ran.code == Some(3) && ran.err.contains("the key is of"), "{ran:?}");
}

#[test]
fn after_the_last_number_there_is_neither_a_certificate_nor_a_list_and_nothing_is_changed() {
    let home = with_authority();
    let path = home.path().join("ca/register.json");
    let good = fs::read_to_string(&path).unwrap();
    let node = home.keygen("node");
    let issue = ["ca", "issue", &node, "--node-type", "hyphae", "--dir", "ca"];
    let refresh = ["ca", "revoke", "--refresh", "--dir", "ca"];

    for (number, command) in [("\"next_serial\": 1", &issue[..]), ("\"list_version\": 1", &refresh[..])] {
        let (name, _) = number.split_once(' ').unwrap();
        let last = good.replace(number, &format!("{name} {}", u64::MAX));
        assert_ne!(last, good);
        fs::write(&path, &last).unwrap();

        let ran = home.hyphal(command);

        assert!(ran.code == Some(1) && ran.err.contains("after the last that a number can have"), "{ran:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), last);
    }
    assert_eq!(fs::read_dir(home.path().join("ca/certificates")).unwrap().count(), 0);
}

/// What docs/trust.md goes through.
#[test]
fn a_certified_network_lets_its_nodes_talk_and_nobody_else() {
    let home = with_authority();
    let authority = json(&home.hyphal(&["ca", "list", "--dir", "ca", "--json"]))["authority"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::create_dir(home.path().join("lists")).unwrap();
    fs::copy(
        home.path().join(format!("ca/{authority}.revocations")),
        home.path().join(format!("lists/{authority}.revocations")),
    )
    .unwrap();
    for name in ["server", "client"] {
        let id = home.keygen(name);
        let node_type = if name == "server" { "sclerotia" } else { "hyphae" };
        let out = format!("{name}.certificate");
        let issued =
            home.hyphal(&["ca", "issue", &id, "--node-type", node_type, "--dir", "ca", "--out", &out]);
        assert_eq!(issued.code, Some(0), "{issued:?}");
        let config = format!(
            "network = \"garden\"\nkey = \"{name}.key\"\nnode_type = \"{node_type}\"\nlisten = [\"127.0.0.1:0\"]\n[trust]\n\
             policy = \"certified\"\nauthorities = [\"{authority}\"]\ncertificate = \"{out}\"\nrevocations = \"lists\"\n\
             stale_list = \"strict\"\n"
        );
        home.write(&format!("{name}.toml"), &config);
    }

    let doctor = home.hyphal(&["doctor", "--config", "client.toml", "--json"]);
    let listener = home.start(&["listen", "--config", "server.toml", "--count", "1", "--json"]);
    let address = listener.err_after("listening on ");
    let stranger = home.hyphal(&[
        "send",
        "--ephemeral-key",
        "--network",
        "garden",
        "--to",
        &address,
        "--timeout",
        "60s",
        "let me in",
    ]);
    // A fresh key has no certificate, whatever the configuration names for the node's own.
    let visit = ["--config", "client.toml", "--ephemeral-key", "--timeout", "60s"];
    let visitor = home.hyphal(&[&["send", "--to", &address][..], &visit, &["let me in, too"]].concat());
    let sent = home.hyphal(&["send", "--config", "client.toml", "--to", &address, "hello"]);

    let checks = json(&doctor)["checks"].as_array().unwrap().clone();
    let trust = checks.iter().find(|check| check["subject"] == "trust").unwrap();
    assert!(
        trust["outcome"] == "ok" && trust["message"].as_str().unwrap().contains("1 revocation list"),
        "{trust}"
    );
    assert_eq!(stranger.code, Some(4), "{stranger:?}");
    assert!(stranger.out.contains("one end asks for a certificate, and the other has none"), "{stranger:?}");
    assert!(stranger.err.contains("hyphal ca issue ID"), "{stranger:?}");
    assert_eq!(visitor.code, Some(4), "{visitor:?}");
    assert!(visitor.out.contains("certificate"), "{visitor:?}");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(listener.json()["payload"], "hello");
}

#[test]
fn a_certificate_of_another_node_or_type_keeps_a_node_from_starting_and_says_what_to_do() {
    let home = with_authority();
    let authority = json(&home.hyphal(&["ca", "list", "--dir", "ca", "--json"]))["authority"]
        .as_str()
        .unwrap()
        .to_owned();
    let (one, _other) = (home.keygen("one"), home.keygen("other"));
    home.hyphal(&["ca", "issue", &one, "--node-type", "hyphae", "--dir", "ca", "--out", "one.certificate"]);
    let start = |key: &str, node_type: &str, network: &str| {
        home.hyphal(&[
            "node",
            "--key",
            key,
            "--network",
            network,
            "--node-type",
            node_type,
            "--trust",
            "certified",
            "--set",
            &format!("trust.authorities={authority}"),
            "--set",
            "trust.certificate=one.certificate",
        ])
    };

    for (ran, message) in [
        (start("other.key", "hyphae", "garden"), "is for node hy1"),
        (start("one.key", "sclerotia", "garden"), "set node_type = \"hyphae\""),
        (start("one.key", "hyphae", "moss"), "does not verify in this network"),
    ] {
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains(message), "{ran:?}");
    }
}

/// A home with the authority `ca` of the network `garden`.
pub(crate) fn with_authority() -> Home {
    let home = Home::new();
    let made = home.hyphal(&["ca", "init", "--dir", "ca", "--network", "garden"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    home
}

pub(crate) fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}
