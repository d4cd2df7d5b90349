//! Of everything that is amiss with a node's certificate and its authority's list, the doctor says what to do about just that.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyphal::trust::{
    Existing, ListHeader, Network, RevocationList, read_certificate, revocations_path, sign_certificate,
    sign_revocations, write_certificate, write_revocations,
};
use hyphal::{Identity, UnixTime, keyfile};
use serde_json::Value;

use crate::ca::{json, with_authority};
use crate::home::Home;

const DAY: u64 = 24 * 60 * 60;

#[test]
fn a_node_without_certificate_directory_and_list_is_told_of_each() {
    let home = with_authority();
    home.keygen("node");
    let id = authority(&home).id();

    let warnings = warnings(&home, "");

    let expected = [
        ("the node has no certificate of its own", "have one issued for this node's id".to_owned()),
        ("no directory for revocation lists is set", "set trust.revocations to a directory".to_owned()),
        ("there is no revocation list of authority", format!("copy {id}.revocations from")),
    ];
    assert_told(&warnings, &expected);
}

#[test]
fn a_certificate_that_ends_soon_is_to_be_renewed_before_then() {
    let home = with_authority();
    issue(&home, 3);

    let warnings = warnings(&home, FILES);

    assert_told(
        &warnings,
        &[("certificate expires at", "put the new one in its place before then".to_owned())],
    );
    assert!(warnings[0].1.contains("hyphal ca renew 1"), "{warnings:?}");
}

#[test]
fn a_certificate_that_has_expired_is_to_be_renewed_unless_the_clock_is_wrong() {
    let home = with_authority();
    issue(&home, 30);
    let path = home.path().join("node.certificate");
    let mut certificate = read_certificate(&path).unwrap();
    (certificate.not_before, certificate.not_after) = (ago(2), ago(1));
    let signed = sign_certificate(&authority(&home), Network::of("garden"), certificate).unwrap();
    write_certificate(&path, &signed, Existing::Replace).unwrap();

    let warnings = warnings(&home, FILES);

    assert_told(&warnings, &[("certificate expired at", "or a clock is wrong".to_owned())]);
    assert!(warnings[0].1.contains("hyphal ca renew 1"), "{warnings:?}");
}

#[test]
fn a_certificate_that_is_revoked_is_not_renewed() {
    let home = with_authority();
    issue(&home, 30);
    assert_eq!(home.hyphal(&["ca", "revoke", "1", "--dir", "ca"]).code, Some(0));
    copy_list(&home);

    let warnings = warnings(&home, FILES);

    assert_told(&warnings, &[("certificate 1 has been revoked", "hyphal ca issue ID".to_owned())]);
}

#[test]
fn a_list_that_is_overdue_is_to_be_signed_anew() {
    let home = with_authority();
    issue(&home, 30);
    let authority = authority(&home);
    let header = ListHeader { authority: authority.id(), version: 1, issued_at: ago(2), next_update: ago(1) };
    let mut bytes = vec![0; RevocationList::len_with(0)];
    sign_revocations(&authority, Network::of("garden"), header, &[], &mut bytes).unwrap();
    let path = revocations_path(&home.path().join("lists"), &authority.id());
    write_revocations(&path, &bytes, Existing::Replace).unwrap();

    let warnings = warnings(&home, FILES);

    let remedy = "sign a newer one where the authority is, hyphal ca revoke --refresh".to_owned();
    assert_told(&warnings, &[("was due for an update at", remedy)]);
}

const FILES: &str = "certificate = \"node.certificate\"\nrevocations = \"lists\"\n";

/// Issues a certificate for a new node, and gives the node the list.
fn issue(home: &Home, days: u32) {
    let node = home.keygen("node");
    let days = days.to_string();
    let terms = ["--node-type", "sclerotia", "--days", &days, "--out", "node.certificate"];
    let ran = home.hyphal(&[&["ca", "issue", &node, "--dir", "ca"], &terms[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    fs::create_dir(home.path().join("lists")).unwrap();
    copy_list(home);
}

fn copy_list(home: &Home) {
    let id = authority(home).id();
    let path = |directory: &str| revocations_path(&home.path().join(directory), &id);
    fs::copy(path("ca"), path("lists")).unwrap();
}

fn authority(home: &Home) -> Identity {
    keyfile::read(&home.path().join(Path::new("ca/authority.key"))).unwrap()
}

/// What the doctor warns of about the trust of a node with these settings: messages with remedies.
fn warnings(home: &Home, settings: &str) -> Vec<(String, String)> {
    let text = format!(
        "key = \"node.key\"\nnetwork = \"garden\"\nnode_type = \"sclerotia\"\nlisten = [\"127.0.0.1:0\"]\n[trust]\npolicy = \"certified\"\n\
         authorities = [\"{}\"]\n{settings}",
        authority(home).id()
    );
    home.write("node.toml", &text);
    let ran = home.hyphal(&["doctor", "--json", "--config", "node.toml"]);
    let checks = json(&ran)["checks"].as_array().unwrap().clone();
    let word = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let trust = checks.iter().filter(|check| check["subject"] == "trust" && check["outcome"] == "warn");
    trust.map(|check| (word(check, "message"), word(check, "remedy"))).collect()
}

fn assert_told(warnings: &[(String, String)], expected: &[(&str, String)]) {
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for ((message, remedy), (part, help)) in warnings.iter().zip(expected) {
        assert!(message.contains(part) && remedy.contains(help), "{warnings:?}");
    }
}

fn ago(days: u64) -> UnixTime {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(days * DAY);
    UnixTime::from_micros(u64::try_from(time.as_micros()).unwrap())
}
