//! An authority whose directory was restored from an old copy goes on above the lists that the network has, and from nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use hyphal::trust::{RevocationList, read_revocations};
use serde_json::Value;

use crate::ca::{json, with_authority};
use crate::home::{Home, Ran};

#[test]
fn a_restored_authority_takes_up_the_list_of_a_node_and_goes_on_above_it() {
    let (home, kept) = with_old_copy();
    let ignored = revoke(&home, &["1"]);

    let made = revoke(&home, &["--from", "kept"]);

    assert_eq!(ignored["list"]["version"], 2, "which nodes that have version 4 ignore");
    assert_eq!((&made["list"]["before"], &made["list"]["version"]), (&Value::from(2), &Value::from(5)));
    assert_eq!(made["taken_up"], serde_json::json!([2, 3]));
    assert_eq!(made["list"]["serials"], 3);
    assert_eq!(list_of(&home.path().join(made["list"]["path"].as_str().unwrap())), (5, vec![1, 2, 3]));
    assert_eq!(list_of(&kept), (4, vec![2, 3]), "the node's own file is only read");
    let shown = json(&home.hyphal(&["ca", "list", "--all", "--dir", "ca", "--json"]));
    assert_eq!(shown["unregistered"], serde_json::json!([3]));
    assert!(shown["certificates"].as_array().unwrap().iter().all(|entry| entry["state"] == "revoked"));
}

#[test]
fn no_serial_is_given_twice_and_one_that_the_copy_lacks_can_be_revoked() {
    let (home, _) = with_old_copy();
    let before = home.hyphal(&["ca", "revoke", "4", "--dir", "ca"]);

    let made = revoke(&home, &["4", "--from", "kept"]);
    let issued = issue(&home, "late");

    assert!(before.err.contains("has issued no certificate 4"), "{before:?}");
    assert_eq!(made["revoked"], serde_json::json!([4]), "issued after the copy was made");
    assert!(issued > 10_000, "{issued}");
    assert_eq!(list_of(&list_path(&home)), (5, vec![2, 3, 4]));
    let unknown = home.hyphal(&["ca", "revoke", &(issued + 1).to_string(), "--dir", "ca"]);
    assert!(unknown.err.contains("has issued no certificate"), "{unknown:?}");
}

#[test]
fn it_is_said_which_version_was_made_and_whose_nodes_ignore_it() {
    let (home, _) = with_old_copy();

    let ran = home.hyphal(&["ca", "revoke", "1", "--from", "kept", "--dir", "ca"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.starts_with("list 5  ca"), "{ran:?}");
    assert!(ran.err.contains("here too from now on: 2, 3"), "{ran:?}");
    assert!(ran.err.contains("made version 5, which revokes 3; the one before here was 1."), "{ran:?}");
    assert!(ran.err.contains("unless they have version 5 or above"), "{ran:?}");
}

#[test]
fn lists_that_are_not_this_authoritys_in_this_network_are_refused_and_change_nothing() {
    let (home, kept) = with_old_copy();
    let text = fs::read_to_string(&kept).unwrap();
    let digits = text.rfind(' ').unwrap() + 1;
    // The lowest byte of the version.
    let version = digits + 2 * (1 + 32 + 7);
    home.write("forged", &format!("{}{}{}", &text[..version], "ff", &text[version + 2..]));
    home.write("cut", &text[..text.len() - 20]);
    assert_eq!(home.hyphal(&["ca", "init", "--dir", "other", "--network", "garden"]).code, Some(0));
    let other = list_in(&home.path().join("other"));
    fs::copy(other, home.path().join("foreign")).unwrap();
    // The same authority in another network.
    copy_authority(&home.path().join("ca"), &home.path().join("moss-ca"));
    let register = home.path().join("moss-ca/register.json");
    let moss = fs::read_to_string(&register).unwrap().replace("\"garden\"", "\"moss\"");
    fs::write(&register, moss).unwrap();
    assert_eq!(home.hyphal(&["ca", "revoke", "--refresh", "--dir", "moss-ca"]).code, Some(0));
    fs::copy(list_in(&home.path().join("moss-ca")), home.path().join("moss")).unwrap();
    let before = fs::read(home.path().join("ca/register.json")).unwrap();
    let cases = [
        ("forged", 1, "does not verify: it was changed, or it is of another network than garden"),
        ("moss", 1, "does not verify: it was changed, or it is of another network than garden"),
        ("foreign", 1, "is a list of hy1"),
        ("cut", 3, "not a good revocation list file"),
        ("ca/authority.key", 3, "it holds something else"),
        ("nowhere", 3, "there is no revocation list at nowhere"),
    ];

    for (file, code, message) in cases {
        let alone = home.hyphal(&["ca", "revoke", "--from", file, "--dir", "ca"]);
        let beside = home.hyphal(&["ca", "revoke", "1", "--from", "kept", "--from", file, "--dir", "ca"]);

        for ran in [alone, beside] {
            assert_eq!(ran.code, Some(code), "{ran:?}");
            assert!(ran.err.contains(message), "{ran:?}");
        }
    }
    assert_eq!(fs::read(home.path().join("ca/register.json")).unwrap(), before);
    assert_eq!(list_of(&list_path(&home)), (1, vec![]));
}

#[test]
fn an_old_register_beside_a_newer_list_is_noticed() {
    let (home, kept) = with_old_copy();
    fs::copy(kept, list_path(&home)).unwrap();
    let node = home.keygen("late");
    let before = fs::read(home.path().join("ca/register.json")).unwrap();

    let refused = [
        home.hyphal(&["ca", "revoke", "1", "--dir", "ca"]),
        home.hyphal(&["ca", "issue", &node, "--node-type", "hyphae", "--dir", "ca"]),
    ];
    let listed = home.hyphal(&["ca", "list", "--dir", "ca"]);

    for Ran { code, err, .. } in refused {
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("knows of list 1 only, and list 4 lies beside it"), "{err}");
        assert!(err.contains("hyphal ca revoke --dir ca --from ca"), "{err}");
    }
    assert!(
        listed.out.contains("so the register is an old copy; help: hyphal ca revoke --from ca"),
        "{listed:?}"
    );
    assert_eq!(fs::read(home.path().join("ca/register.json")).unwrap(), before);
    let list = list_path(&home).display().to_string();
    assert_eq!(revoke(&home, &["--from", &list])["list"]["version"], 5);
}

/// The authority `ca` as it was with certificates 1 and 2 and list 1; and the file `kept`, which a node has from the time after:
/// list 4, with 2 and 3 revoked. Certificate 4 was issued then, too.
fn with_old_copy() -> (Home, PathBuf) {
    let home = with_authority();
    issue(&home, "one");
    issue(&home, "two");
    copy_authority(&home.path().join("ca"), &home.path().join("copy"));
    issue(&home, "three");
    issue(&home, "four");
    revoke(&home, &["2"]);
    revoke(&home, &["3"]);
    revoke(&home, &["--refresh"]);
    let kept = home.path().join("kept");
    fs::copy(list_path(&home), &kept).unwrap();
    fs::remove_dir_all(home.path().join("ca")).unwrap();
    fs::rename(home.path().join("copy"), home.path().join("ca")).unwrap();
    (home, kept)
}

fn copy_authority(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("certificates")).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Issues a certificate for a new node and gives its serial.
fn issue(home: &Home, name: &str) -> u64 {
    let node = home.keygen(name);
    let ran = home.hyphal(&["ca", "issue", &node, "--node-type", "hyphae", "--dir", "ca", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    json(&ran)["serial"].as_u64().unwrap()
}

fn revoke(home: &Home, arguments: &[&str]) -> Value {
    let ran = home.hyphal(&[&["ca", "revoke"], arguments, &["--dir", "ca", "--json"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    json(&ran)
}

fn list_path(home: &Home) -> PathBuf {
    list_in(&home.path().join("ca"))
}

fn list_in(authority: &Path) -> PathBuf {
    let mut files = fs::read_dir(authority).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|ending| ending == "revocations")).unwrap()
}

/// Version and serials.
fn list_of(path: &Path) -> (u64, Vec<u64>) {
    let bytes = read_revocations(path).unwrap();
    let list = RevocationList::decode(&bytes).unwrap();
    (list.header().version, list.serials().collect())
}
