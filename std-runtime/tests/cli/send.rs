//! Sending from the command line: every source of a message, every receiver, and the truth about what became of it.

use std::net::UdpSocket;

use serde_json::{Value, json};

use crate::home::{DeafPort, Home, Ran};

#[test]
fn text_file_and_standard_input_arrive_as_they_are() {
    let home = Home::new();
    home.write("letter.txt", "from a file\n");
    let (listener, address) = home.listen(&["--json", "--count", "3"]);
    let to = ["send", "--ephemeral-key", "--to", &address];

    let text = home.hyphal(&[&to[..], &["from the command line"]].concat());
    let file = home.hyphal(&[&to[..], &["--file", "letter.txt", "--priority", "high"]].concat());
    let mut input = home.start(&[&to[..], &["--type", "4096", "--ttl", "5", "--overflow", "shed"]].concat());
    input.feed(b"from \0 a pipe");

    assert_eq!((text.code, file.code), (Some(0), Some(0)), "{text:?} {file:?}");
    let lines = [listener.json(), listener.json(), listener.json()];
    assert_eq!(input.end().0, Some(0));
    assert_eq!(lines[0]["payload"], "from the command line");
    assert_eq!((&lines[1]["payload"], &lines[1]["priority"]), (&json!("from a file\n"), &json!("high")));
    assert_eq!(
        (&lines[2]["payload"], &lines[2]["message_type"], &lines[2]["ttl"]),
        (&json!("from \0 a pipe"), &json!(4096), &json!(5))
    );
    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn what_is_sealed_and_signed_arrives_as_it_is_and_is_shown_as_such() {
    let home = Home::new();
    home.write("letter.txt", &"a line like all the others\n".repeat(1000));
    let (listener, address) = home.listen(&["--json", "--count", "3"]);
    let to = ["send", "--ephemeral-key", "--json", "--to", &address];

    for (flags, sealed, signed) in
        [(&["--seal"][..], true, false), (&["--sign"], false, true), (&["--seal", "--sign"], true, true)]
    {
        let sent = home.hyphal(&[&to[..], flags, &["--file", "letter.txt"]].concat());

        assert_eq!(sent.code, Some(0), "{sent:?}");
        let line = listener.json();
        assert_eq!(line["payload"].as_str().unwrap().len(), 27_000);
        assert_eq!((&line["is_encrypted"], &line["is_signed"]), (&json!(sealed), &json!(signed)));
    }
    assert_eq!(listener.end().0, Some(0));

    let (listener, address) = home.listen(&["--count", "1"]);
    home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--seal", "--sign", "secret"]);
    let (_, lines, _) = listener.end();
    assert!(lines[0].ends_with(" 0 medium,sealed,signed secret"), "{lines:?}");
}

#[test]
fn what_cannot_be_sealed_or_kept_is_said_before_anything_is_sent() {
    let home = Home::new();
    home.keygen("sender");
    let (_listener, peer) = home.listen(&[]);
    let guaranteed = ["--reliability", "guaranteed", "hello"];

    let broadcast = home.hyphal(&["send", "--ephemeral-key", "--peer", &peer, "--broadcast", "--seal", "x"]);
    let nowhere = home.hyphal(&[&["send", "--key", "sender.key", "--to", &peer][..], &guaranteed].concat());
    let nobody = home.hyphal(&[&["send", "--ephemeral-key", "--to", &peer][..], &guaranteed].concat());

    assert_eq!(broadcast.code, Some(2), "{broadcast:?}");
    assert_eq!(nowhere.code, Some(3), "{nowhere:?}");
    assert!(nowhere.err.contains("needs a store") && nowhere.err.contains("store.directory"), "{nowhere:?}");
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    assert!(nobody.err.contains("--ephemeral-key"), "{nobody:?}");
}

#[test]
fn a_guaranteed_message_to_an_absent_peer_stays_in_the_store_until_it_comes() {
    let home = Home::new();
    home.keygen("sender");
    let port = DeafPort::new();
    let nowhere = port.address_of(&home.keygen("peer"));
    let own = ["send", "--key", "sender.key", "--store", "store", "--ttl", "0", "--seal", "--sign"];
    let guaranteed = ["--reliability", "guaranteed"];
    let send = |to: &str, more: &[&str]| home.hyphal(&[&own[..], &guaranteed, &["--to", to], more].concat());

    let told = send(&nowhere, &["--timeout", "300ms", "--json", "first"]);
    let shown = send(&nowhere, &["--timeout", "300ms", "second"]);

    assert_eq!((told.code, shown.code), (Some(4), Some(4)), "{told:?} {shown:?}");
    let delivery = &serde_json::from_str::<Value>(&told.out).unwrap()["deliveries"][0];
    assert_eq!(delivery["outcome"], "stored", "{told:?}");
    assert!(shown.out.starts_with("stored ") && shown.out.contains("stays in the store"), "{shown:?}");
    assert!(shown.err.contains("with this peer among its peers"), "{shown:?}");

    let own = ["listen", "--key", "peer.key", "--store", "peer-store", "--trust", "open"];
    let listener = home.start(&[&own[..], &["--listen", "127.0.0.1:0", "--json", "--count", "3"]].concat());
    let address = listener.err_after("listening on ");
    let third = send(&address, &["third"]);

    assert_eq!(third.code, Some(0), "{third:?}");
    for payload in ["first", "second", "third"] {
        let line = listener.json();
        assert_eq!(line["payload"], payload);
        assert_eq!((&line["is_encrypted"], &line["is_signed"]), (&json!(true), &json!(true)));
    }
    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn a_guaranteed_message_is_delivered_when_the_receiver_has_it_in_a_file() {
    let home = Home::new();
    home.keygen("sender");
    home.keygen("peer");
    let own = ["listen", "--key", "peer.key", "--store", "peer-store", "--listen", "127.0.0.1:0"];
    let listener = home.start(&[&own[..], &["--output", "inbox", "--count", "1"]].concat());
    let address = listener.err_after("listening on ");
    let to = ["send", "--key", "sender.key", "--store", "store", "--reliability", "guaranteed"];

    let sent = home.hyphal(&[&to[..], &["--to", &address, "for the file"]].concat());

    assert_eq!(sent.code, Some(0), "{sent:?}");
    let line = listener.line();
    let file = home.path().join(line.rsplit(' ').next().unwrap());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "for the file");
    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn either_reliability_that_needs_no_store_delivers() {
    let home = Home::new();
    let (listener, address) = home.listen(&["--count", "2"]);

    for reliability in ["best-effort", "high"] {
        let to = ["send", "--ephemeral-key", "--to", &address, "--reliability", reliability, "hello"];
        let sent = home.hyphal(&to);
        assert_eq!(sent.code, Some(0), "{sent:?}");
    }

    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn what_is_sent_compressed_arrives_as_it_is() {
    let home = Home::new();
    let text = "a line like all the others\n".repeat(1000);
    home.write("letter.txt", &text);
    let (listener, address) = home.listen(&["--json", "--count", "2"]);
    let send = ["send", "--ephemeral-key", "--to", &address, "--file", "letter.txt", "--compress"];

    for method in ["lz4", "zstd"] {
        let sent = home.hyphal(&[&send[..], &[method]].concat());

        assert_eq!(sent.code, Some(0), "{sent:?}");
        assert_eq!(listener.json()["payload"], text);
    }
    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn security_and_configuration_are_not_sent_compressed() {
    let home = Home::new();
    let (_listener, peer) = home.listen(&[]);

    for (kind, family) in [("768", "configuration"), ("2560", "security")] {
        let sent = home.hyphal(&[
            "send",
            "--ephemeral-key",
            "--to",
            &peer,
            "--type",
            kind,
            "--compress",
            "lz4",
            "hello",
        ]);

        assert_eq!(sent.code, Some(2), "{sent:?}");
        assert!(sent.err.contains(&format!("messages of the family {family}")), "{sent:?}");
    }
    let rule = "compression.send=0x0300=zstd";
    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", &peer, "--set", rule, "hello"]);
    assert_eq!(sent.code, Some(2), "{sent:?}");
    assert!(sent.err.contains("configuration, 0x0300 to 0x03ff, are never compressed"), "{sent:?}");
}

#[test]
fn a_broadcast_reaches_all_peers_and_is_accounted_for_each() {
    let home = Home::new();
    let (first, to_first) = home.listen(&["--json", "--count", "1"]);
    let (second, to_second) = home.listen(&["--json", "--count", "1"]);

    let sent = home.hyphal(&[
        "send",
        "--ephemeral-key",
        "--broadcast",
        "--peer",
        &to_first,
        "--peer",
        &to_second,
        "--json",
        "hello",
    ]);

    assert_eq!(sent.code, Some(0), "{sent:?}");
    let mut ids = [id_of(&to_first), id_of(&to_second)];
    ids.sort_unstable();
    let report = report(&sent);
    for (delivery, id) in report["deliveries"].as_array().unwrap().iter().zip(ids) {
        assert_eq!((&delivery["peer"], &delivery["outcome"]), (&json!(id), &json!("delivered")));
    }
    for listener in [first, second] {
        let line = listener.json();
        assert_eq!((&line["target_node_id"], &line["payload"]), (&Value::Null, &json!("hello")));
        assert_eq!(line["message_id"], report["message_id"]);
        assert_eq!(listener.end().0, Some(0));
    }
}

#[test]
fn json_is_one_object_with_a_delivery_for_each_peer() {
    let home = Home::new();
    let (_listener, address) = home.listen(&[]);

    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--json", "hello"]);

    let report = report(&sent);
    let delivered = json!({ "peer": id_of(&address), "outcome": "delivered", "reason": null, "detail": null, "remedy": null });
    assert_eq!(report["deliveries"], json!([delivered]));
    assert!(report["message_id"].is_string(), "{report}");
}

#[test]
fn a_peer_that_is_down_is_unreachable_with_the_reason() {
    let home = Home::new();
    let port = DeafPort::new();
    let address = port.address_of(&home.keygen("peer"));

    let sent =
        home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--timeout", "5", "--json", "hello"]);

    assert_eq!(sent.code, Some(4), "{sent:?}");
    assert_eq!(outcome(&sent), ("unreachable".into(), "Unreachable".into()));
}

#[cfg(unix)]
#[test]
fn a_key_log_that_others_can_read_is_refused_before_anything_is_sent() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let path = home.write("keys.log", "");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let address = format!("{}@127.0.0.1:1", home.keygen("peer"));
    let cases =
        [("keys.log", "its mode 0644 lets others at it", "chmod 600"), ("none/keys.log", "none", "exists")];
    for (log, expected, remedy) in cases {
        let sent = home.hyphal(&["send", "--ephemeral-key", "--key-log", log, "--to", &address, "hello"]);

        assert_eq!(sent.code, Some(3), "{sent:?}");
        assert!(sent.err.contains(expected) && sent.err.contains(remedy), "{sent:?}");
    }
}

#[test]
fn silence_at_a_udp_port_is_told_as_such() {
    let home = Home::new();
    // Bound, so that no other program answers there, and never read.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = format!("{}@udp://127.0.0.1:{port}", home.keygen("peer"));

    let arguments = ["send", "--ephemeral-key", "--to", &address, "--set", "timeouts.handshake=300ms"];
    let sent = home.hyphal(&[&arguments[..], &["--timeout", "10", "hello"]].concat());

    assert_eq!(sent.code, Some(4), "{sent:?}");
    assert!(sent.out.contains("nothing answers there, or it does not finish the handshake"), "{sent:?}");
    assert!(sent.err.contains("listens on that UDP port"), "{sent:?}");
}

#[cfg(unix)]
#[test]
fn a_serial_line_that_cannot_be_opened_is_told_as_such() {
    let home = Home::new();
    let address = format!("{}@serial:///dev/null?baud=9600", home.keygen("peer"));

    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--timeout", "5", "hello"]);

    assert_eq!(sent.code, Some(4), "{sent:?}");
    assert!(sent.out.contains("the serial line to it cannot be opened"), "{sent:?}");
    assert!(sent.err.contains("help: check that the device is there"), "{sent:?}");
}

#[test]
fn a_message_arrives_over_udp_and_one_over_the_peers_limit_does_not_leave() {
    let home = Home::new();
    std::fs::write(home.path().join("large.bin"), noise(2 << 20)).unwrap();
    let small = ["--listen", "udp://127.0.0.1:0", "--set", "limits.max_message=1 MiB"];
    let listener = home.start(&[&["listen", "--ephemeral-key"], &small[..]].concat());
    let address = listener.err_after("listening on ");

    let hello = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "hello"]);
    let large = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--file", "large.bin"]);

    assert!(address.contains("@udp://127.0.0.1:"), "{address}");
    assert_eq!(hello.code, Some(0), "{hello:?}");
    assert!(listener.line().ends_with("hello"));
    assert_eq!(large.code, Some(1), "{large:?}");
    assert!(large.out.contains("has 2097152 bytes and the peer takes at most 1048576"), "{large:?}");
}

#[test]
fn a_refusal_is_told_at_once_with_what_the_peer_lacks() {
    let home = Home::new();
    let own = home.keygen("own");
    let (_listener, address) = home.listen(&["--trust", "pinned"]);

    let sent = home.hyphal(&["send", "--key", "own.key", "--to", &address, "--timeout", "60", "hello"]);

    assert_eq!(sent.code, Some(4), "{sent:?}");
    assert_eq!(
        sent.out,
        format!("unreachable {}: its trust policy does not admit this node, {own}\n", id_of(&address))
    );
    assert!(sent.err.contains("help: add that id"), "{sent:?}");
}

#[test]
fn another_network_and_another_id_are_told_by_name() {
    let home = Home::new();
    let (_listener, address) = home.listen(&[]);
    let elsewhere = address.replace(id_of(&address), &home.keygen("other"));
    let send = |arguments: &[&str]| {
        let common = ["send", "--ephemeral-key", "--json", "--timeout", "60", "hello"];
        home.hyphal(&[&common, arguments].concat())
    };

    let network = send(&["--to", &address, "--network", "elsewhere"]);
    let id = send(&["--to", &elsewhere]);

    assert_eq!(outcome(&network), ("unreachable".into(), "Network".into()));
    assert_eq!(outcome(&id), ("unreachable".into(), "UnexpectedId".into()));
    assert_eq!((network.code, id.code), (Some(4), Some(4)));
}

#[test]
fn a_message_over_the_peers_limit_says_the_limit() {
    let home = Home::new();
    home.write("long.txt", &"x".repeat(3000));
    let endless = std::fs::File::create(home.path().join("endless.txt")).unwrap();
    endless.set_len((1 << 30) + 1).unwrap();
    let (_listener, address) = home.listen(&["--set", "limits.max_message=2000"]);

    let long = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--file", "long.txt"]);
    let endless = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--file", "endless.txt"]);

    assert_eq!(long.code, Some(1), "{long:?}");
    assert!(long.out.contains("the message has 3000 bytes and the peer takes at most 2000"), "{long:?}");
    assert!(long.err.contains("help: split it"), "{long:?}");
    assert_eq!(endless.code, Some(1), "{endless:?}");
    assert!(
        endless.err.contains("endless.txt is too long: no peer takes more than 1073741824 bytes"),
        "{endless:?}"
    );
}

#[test]
fn a_delegated_key_that_is_to_sign_is_refused_with_what_to_do() {
    let home = Home::new();
    home.keygen("own");
    home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "node.key"]);
    let (_listener, peer) = home.listen(&[]);

    let signed = home.hyphal(&["send", "--key", "node.key", "--to", &peer, "--sign", "hello"]);

    assert_eq!(signed.code, Some(3), "{signed:?}");
    assert!(
        signed.err.contains("delegated key") && signed.err.contains("help: send it without"),
        "{signed:?}"
    );
}

#[test]
fn mistakes_are_found_before_anything_is_sent() {
    let home = Home::new();
    let own = home.keygen("own");
    let to_own = format!("{own}@127.0.0.1:1");
    let other = home.keygen("other");
    let to_other = format!("{other}@127.0.0.1:1");
    let cases: [(&[&str], i32, &str); 10] = [
        (&["--ephemeral-key", "--to", &to_own, "--type", "0x0D00", "hello"], 2, "among themselves"),
        (&["--ephemeral-key", "--to", &to_own, "--type", "0x10000", "hello"], 2, "from 0x0 to 0xffff"),
        (&["--to", &own, "hello"], 2, "no peer with the id"),
        (
            &["--broadcast", "--reliability", "guaranteed", "hello"],
            2,
            "a broadcast cannot be sent with --reliability guaranteed",
        ),
        (&["--to", &to_own, "hello"], 3, "--ephemeral-key"),
        (&["--broadcast", "hello"], 3, "no peers to broadcast to"),
        (&["--ephemeral-key", "--to", &to_own, "--type", "3600", "hello"], 2, "no family of message types"),
        (&["--ephemeral-key", "--to", &to_own, "--file", "none.txt"], 1, "cannot read none.txt"),
        (&["--to", &to_other, "--compress", "lz4", "--seal", "hello"], 2, "never compressed"),
        (&["--to", &to_other, "--compress", "zstd", "--sign", "hello"], 2, "never compressed"),
    ];
    for (arguments, code, expected) in cases {
        let ran = home.hyphal(&[&["send", "--key", "own.key"], arguments].concat());

        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {ran:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_send_ends_with_130() {
    let home = Home::new();
    let port = DeafPort::new();
    let address = port.address_of(&home.keygen("peer"));
    let sender = home.start(&[
        "send",
        "--ephemeral-key",
        "--to",
        &address,
        "--timeout",
        "60",
        "--log",
        "info",
        "hello",
    ]);
    sender.err_after("cannot connect");

    sender.signal(rustix::process::Signal::INT);

    let (code, out, err) = sender.end();
    assert_eq!((code, out.len()), (Some(130), 0), "{out:?} {err}");
    assert!(err.contains("interrupted before it was known"), "{err}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_send_of_what_is_stored_says_that_it_stays() {
    let home = Home::new();
    home.keygen("sender");
    let port = DeafPort::new();
    let address = port.address_of(&home.keygen("peer"));
    let guaranteed = ["--store", "store", "--reliability", "guaranteed", "--timeout", "60", "--log", "info"];
    let sender = home
        .start(&[&["send", "--key", "sender.key", "--to", &address][..], &guaranteed, &["hello"]].concat());
    sender.err_after("cannot connect");

    sender.signal(rustix::process::Signal::INT);

    let (code, _, err) = sender.end();
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("it stays in the store") && !err.contains("cancelled"), "{err}");
}

#[test]
fn a_sealed_message_may_be_as_long_as_the_peer_takes_and_longer_than_the_usual_queue() {
    let home = Home::new();
    let wide = ["--set", "limits.max_message=64MiB", "--set", "limits.outbox_bytes=64MiB"];
    let (listener, address) = home.listen(&[&wide[..], &["--output", "inbox", "--count", "1"]].concat());
    let len = 33 << 20;
    std::fs::write(home.path().join("long"), vec![7; len]).unwrap();

    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--seal", "--file", "long"]);

    assert_eq!(sent.code, Some(0), "{sent:?}");
    let line = listener.line();
    let file = line.rsplit(' ').next().unwrap();
    assert_eq!(std::fs::metadata(home.path().join(file)).unwrap().len(), len as u64);
}

fn id_of(address: &str) -> &str {
    address.split_once('@').unwrap().0
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Outcome and reason of the only delivery.
fn outcome(ran: &Ran) -> (Value, Value) {
    let delivery = report(ran)["deliveries"][0].clone();
    (delivery["outcome"].clone(), delivery["reason"].clone())
}

#[test]
fn a_large_file_arrives_in_a_file_of_the_receiver() {
    let home = Home::new();
    let content = noise(16 << 20);
    std::fs::write(home.path().join("large.bin"), &content).unwrap();
    let (listener, address) = home.listen(&["--output", "inbox", "--json", "--count", "2"]);
    let to = ["send", "--ephemeral-key", "--to", &address];

    let large = home.hyphal(&[&to[..], &["--file", "large.bin"]].concat());
    let small = home.hyphal(&[&to[..], &["short"]].concat());

    assert_eq!((large.code, small.code), (Some(0), Some(0)), "{large:?} {small:?}");
    assert!(large.err.is_empty(), "no progress is shown where nobody watches: {large:?}");
    for content in [&content[..], b"short"] {
        let line = listener.json();
        assert_eq!((&line["payload"], &line["length"]), (&Value::Null, &json!(content.len())));
        let stored = std::fs::read(home.path().join(line["file"].as_str().unwrap())).unwrap();
        assert!(stored == content);
    }
    assert_eq!(listener.end().0, Some(0));
    assert_eq!(std::fs::read_dir(home.path().join("inbox")).unwrap().count(), 2);
}

#[test]
fn standard_input_by_name_leaves_as_it_is_and_arrives_so() {
    let home = Home::new();
    let content = noise(1 << 20);
    let raw = home.path().join("raw");
    let (listener, address) = home.listen_into(&raw, &["--raw", "--count", "1"]);

    let mut sender = home.start(&["send", "--ephemeral-key", "--to", &address, "--file", "-"]);
    sender.feed(&content);

    assert_eq!(sender.end().0, Some(0));
    assert_eq!(listener.end().0, Some(0));
    assert!(std::fs::read(raw).unwrap() == content);
}

#[test]
fn a_large_message_whole_is_one_line() {
    let home = Home::new();
    let text = "ä".repeat(100_000);
    home.write("long.txt", &text);
    let (listener, address) = home.listen(&["--json", "--count", "1"]);

    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "--file", "long.txt"]);

    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(listener.json()["payload"], text);
    assert_eq!(listener.end().0, Some(0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_calls_a_message_back_and_its_receiver_hears_of_it() {
    use hyphal::{Filter, Identity, Incoming, Node, StreamError, Trust};
    use rustix::process::Signal;

    let home = Home::new();
    std::fs::write(home.path().join("large.bin"), noise(16 << 20)).unwrap();
    let receiver = Node::builder()
        .identity(Identity::from_seed(&[7; 32]).unwrap())
        .network("hyphal")
        .trust(Trust::Open)
        .listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
        .start()
        .await
        .unwrap();
    let address = format!("{}@{}", receiver.id(), receiver.local_addrs()[0]);
    let mut incoming = receiver.subscribe_streams(Filter::all());

    let sender = home.start(&["send", "--ephemeral-key", "--to", &address, "--file", "large.bin"]);
    let Some(Incoming::Stream(mut stream)) = incoming.recv().await else { panic!("no stream") };
    sender.signal(Signal::INT);
    // Nobody reads meanwhile, so that the message cannot be through before the signal comes.
    let (code, _, err) = tokio::task::spawn_blocking(|| sender.end()).await.unwrap();
    let last = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            last => break last,
        }
    };

    assert_eq!(last, Some(Err(StreamError::Abandoned)));
    assert_eq!(code, Some(130), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_file_goes_when_its_message_is_called_back() {
    use hyphal::{Identity, Node, NodeId, Outcome, Reason, SendOptions};

    let home = Home::new();
    let (listener, address) = home.listen(&["--output", "inbox", "--json"]);
    let (id, endpoint) = address.split_once('@').unwrap();
    let peer: NodeId = id.parse().unwrap();
    let sender = Node::builder()
        .identity(Identity::from_seed(&[7; 32]).unwrap())
        .network("hyphal")
        .peer(peer, endpoint)
        .start()
        .await
        .unwrap();
    let content = bytes::Bytes::from(noise(16 << 20));

    // Until one is caught on its way.
    let mut delivered = 0;
    loop {
        let sent = sender.send_direct_tracked(peer, 1, content.clone(), SendOptions::default()).await;
        let (_, receipt) = sent.unwrap();
        while receipt.progress().written == 0 {
            tokio::task::yield_now().await;
        }
        receipt.cancel();
        match receipt.await {
            Outcome::Failed(Reason::Cancelled) => break,
            outcome => assert_eq!(outcome, Outcome::Delivered),
        }
        delivered += 1;
    }
    let (_, last) = sender.send_direct_tracked(peer, 1, "last", SendOptions::default()).await.unwrap();
    assert_eq!(last.await, Outcome::Delivered);

    listener.err_after("not kept:");
    for _ in 0..=delivered {
        listener.json();
    }
    let files = std::fs::read_dir(home.path().join("inbox")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), delivered + 1, "{names:?}");
    assert!(names.iter().all(|name| !name.ends_with(".part")), "{names:?}");
}

fn noise(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes()).take(len).collect()
}
