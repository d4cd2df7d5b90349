//! Stores that a node cannot use: it does not start, says why and what to do, and changes nothing.

use std::fs;

use crate::home::{Home, Ran};
use crate::process::Process;

const FILE: &str = "kept/guaranteed.store";

#[test]
fn two_processes_do_not_share_a_store() {
    let home = Home::new();
    home.keygen("a");
    let first = started(&home);

    let second = node(&home, "a");

    assert_refused(&second, "is in use by another process", "store.directory");
    drop(first);
    // A process that was killed holds nothing.
    drop(started(&home));
}

#[test]
fn a_visit_beside_a_running_node_leaves_its_store_alone() {
    let home = Home::new();
    home.keygen("a");
    let node = started(&home);
    let address = node.line();

    let sent = home.hyphal(&[
        "send",
        "--ephemeral-key",
        "--store",
        "kept",
        "--to",
        address.strip_prefix("address  ").unwrap(),
        "hello",
    ]);

    assert_eq!(sent.code, Some(0), "{sent:?}");
}

#[test]
fn the_store_of_another_node_is_not_used() {
    let home = Home::new();
    let id = home.keygen("a");
    let other = home.keygen("b");
    drop(started(&home));

    let refused = node(&home, "b");

    assert_refused(&refused, &format!("belongs to node {id}, and this is node {other}"), "identity key");
}

#[test]
fn a_damaged_store_is_not_used() {
    let home = Home::new();
    home.keygen("a");
    drop(started(&home));
    let good = fs::read(home.path().join(FILE)).unwrap();
    let mut damaged = good.clone();
    damaged[4096..8192].fill(0x55);
    for bytes in [&damaged[..], &good[..good.len() / 2], b"something else"] {
        fs::write(home.path().join(FILE), bytes).unwrap();

        let refused = node(&home, "a");

        assert_refused(&refused, "is damaged", "move");
        assert_eq!(fs::read(home.path().join(FILE)).unwrap(), bytes);
    }
}

#[test]
fn the_store_of_a_newer_release_is_not_used() {
    let home = Home::new();
    home.keygen("a");
    drop(started(&home));
    let mut newer = fs::read(home.path().join(FILE)).unwrap();
    newer[16] = 200;
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&newer[..52]);
    newer[52..56].copy_from_slice(&checksum.to_le_bytes());
    fs::write(home.path().join(FILE), &newer).unwrap();

    let refused = node(&home, "a");

    assert_refused(&refused, "has format 200", "a newer one");
    assert_eq!(fs::read(home.path().join(FILE)).unwrap(), newer);
}

#[test]
fn a_file_is_no_store() {
    let home = Home::new();
    home.keygen("a");
    home.write("kept", "");

    assert_refused(&node(&home, "a"), "is not a directory", "store.directory");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_named() {
    let home = Home::new();
    home.keygen("a");
    // No file may grow beyond 8 KiB; without the trap the system would end the process.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    let own = home.command(&[]);
    command.arg("-c").arg(script).arg(own.get_program()).args(ARGUMENTS).args(["--key", "a.key"]);
    command.env_clear().env("HOME", home.path()).current_dir(home.path());

    let refused = Ran::new(&command.output().unwrap());

    assert_refused(&refused, "the disk is full", "make room");
    assert!(!home.path().join(FILE).exists());
    drop(started(&home));
}

const ARGUMENTS: [&str; 5] = ["node", "--listen", "127.0.0.1:0", "--store", "kept"];

fn node(home: &Home, key: &str) -> Ran {
    home.hyphal(&[&ARGUMENTS[..], &["--key", &format!("{key}.key")]].concat())
}

/// A node that has the store open, with the key `a`; its first line is taken.
fn started(home: &Home) -> Process {
    let node = home.start(&[&ARGUMENTS[..], &["--key", "a.key"]].concat());
    assert!(node.line().starts_with("id "));
    node
}

fn assert_refused(ran: &Ran, problem: &str, remedy: &str) {
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let problem_line = ran.err.lines().find(|line| line.contains(problem));
    assert!(problem_line.is_some(), "{problem}: {}", ran.err);
    assert!(ran.err.contains(remedy), "{remedy}: {}", ran.err);
}
