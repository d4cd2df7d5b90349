//! Listening on the command line: one line for each message, safe on a terminal, complete as JSON.

use serde_json::json;

use crate::home::Home;
use crate::process::Process;

#[test]
fn a_line_names_source_type_and_priority_and_cannot_steer_the_terminal() {
    let home = Home::new();
    let source = home.keygen("sender");
    std::fs::write(home.path().join("binary"), [0xff, 0x00, 0x41]).unwrap();
    let (listener, address) = home.listen(&["--count", "2"]);
    let to = ["send", "--key", "sender.key", "--to", &address];

    let text = home.hyphal(&[&to[..], &["--type", "7", "a\u{1b}[2J\nb"]].concat());
    let binary = home.hyphal(&[&to[..], &["--file", "binary", "--priority", "critical"]].concat());

    assert_eq!((text.code, binary.code), (Some(0), Some(0)), "{text:?} {binary:?}");
    assert_eq!(listener.line(), format!("{source} 7 medium a\\u{{1b}}[2J\\nb"));
    assert_eq!(listener.line(), format!("{source} 0 critical hex:ff0041"));
    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn json_has_every_field_of_the_envelope() {
    let home = Home::new();
    let source = home.keygen("sender");
    std::fs::write(home.path().join("binary"), [0xff, 0x00, 0x41]).unwrap();
    let (listener, address) = home.listen(&["--json", "--count", "1"]);

    home.hyphal(&["send", "--key", "sender.key", "--to", &address, "--file", "binary", "--ttl", "0"]);

    let mut line = listener.json();
    let object = line.as_object_mut().unwrap();
    let id = object.remove("message_id").unwrap();
    assert!(id.as_str().unwrap().ends_with("-1"), "{id}");
    let timestamp = object.remove("timestamp").unwrap();
    assert!(timestamp.as_str().unwrap().starts_with("20") && timestamp.as_str().unwrap().ends_with('Z'));
    assert_eq!(
        line,
        json!({
            "source_node_id": source,
            "target_node_id": address.split_once('@').unwrap().0,
            "ttl": 0,
            "priority": "medium",
            "is_encrypted": false,
            "is_signed": false,
            "message_type": 0,
            "payload": "/wBB",
            "payload_encoding": "base64",
        })
    );
}

#[test]
fn other_types_are_taken_and_not_shown() {
    let home = Home::new();
    let (listener, address) = home.listen(&["--type", "9", "--count", "1"]);
    let to = ["send", "--ephemeral-key", "--to", &address];

    let other = home.hyphal(&[&to[..], &["--type", "8", "not wanted"]].concat());
    let wanted = home.hyphal(&[&to[..], &["--type", "9", "wanted"]].concat());

    assert_eq!((other.code, wanted.code), (Some(0), Some(0)), "{other:?} {wanted:?}");
    let (code, lines, _) = listener.end();
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:?}");
    assert!(lines[0].ends_with(" 9 medium wanted"), "{lines:?}");
}

#[cfg(unix)]
#[test]
fn a_signal_is_the_usual_end_but_not_of_a_count() {
    use rustix::process::Signal;
    let home = Home::new();
    let cases: [(&[&str], Signal, i32); 3] =
        [(&[], Signal::INT, 0), (&[], Signal::TERM, 0), (&["--count", "1"], Signal::INT, 130)];
    for (arguments, signal, expected) in cases {
        let (listener, _) = home.listen(arguments);

        listener.signal(signal);

        let (code, _, err) = listener.end();
        assert_eq!(code, Some(expected), "{arguments:?}: {err}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_the_command_with_0_and_confirms_nothing() {
    let home = Home::new();
    let mut command = home.command(&["listen", "--ephemeral-key", "--listen", "127.0.0.1:0"]);
    let listener = Process::start_unread(&mut command);
    let address = listener.err_after("listening on ");

    let sent = home.hyphal(&["send", "--ephemeral-key", "--to", &address, "hello"]);

    let (code, _, err) = listener.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(sent.code, Some(4), "{sent:?}");
    assert!(sent.out.starts_with("unconfirmed "), "{sent:?}");
}
