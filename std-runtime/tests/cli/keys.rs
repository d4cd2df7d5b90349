//! The identity key through the command: made once, readable by its owner only, refused in any other state.

use std::fs;

use crate::home::Home;

#[test]
fn a_new_key_lies_in_the_data_directory_and_has_the_id_that_was_printed() {
    let home = Home::new();

    let made = home.hyphal(&["keygen"]);
    let shown = home.hyphal(&["id"]);

    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.err.contains(".local/share/hyphal/identity.key"), "{made:?}");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert_eq!(made.out, shown.out);
    assert!(shown.out.starts_with("hy1"), "{shown:?}");
}

#[test]
fn two_keys_are_different() {
    let home = Home::new();

    let first = home.hyphal(&["keygen", "--out", "a.key"]);
    let second = home.hyphal(&["keygen", "--out", "b.key"]);

    assert_ne!(first.out, second.out);
}

#[test]
fn a_key_is_replaced_only_by_force() {
    let home = Home::new();
    let first = home.hyphal(&["keygen"]);

    let refused = home.hyphal(&["keygen"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("exists already") && refused.err.contains("--force"), "{refused:?}");
    assert_eq!(home.hyphal(&["id"]).out, first.out);

    let forced = home.hyphal(&["keygen", "--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_eq!(home.hyphal(&["id"]).out, forced.out);
}

#[test]
fn json_is_one_object_with_id_and_path() {
    let home = Home::new();
    let made = home.hyphal(&["keygen", "--out", "a.key", "--json"]);
    let shown = home.hyphal(&["id", "--key", "a.key", "--json"]);

    let made: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();

    assert_eq!(made, shown);
    assert_eq!(made["key"], "a.key");
}

#[test]
fn a_missing_key_is_refused_with_the_command_that_makes_it() {
    let ran = Home::new().hyphal(&["id", "--key", "none.key"]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("there is no identity key at none.key"), "{ran:?}");
    assert!(ran.err.contains("run: hyphal keygen --out none.key"), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_fixes_it() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.hyphal(&["keygen", "--out", "a.key"]);
    fs::set_permissions(home.path().join("a.key"), fs::Permissions::from_mode(0o644)).unwrap();

    let ran = home.hyphal(&["id", "--key", "a.key"]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("the key file a.key has mode 0644, wider than 0600"), "{ran:?}");
    assert!(ran.err.contains("run: chmod 600 a.key"), "{ran:?}");
}

#[test]
fn a_damaged_key_is_refused() {
    let home = Home::new();
    home.hyphal(&["keygen", "--out", "a.key"]);
    let path = home.path().join("a.key");
    let good = fs::read_to_string(&path).unwrap();

    for (text, expected) in [
        (String::new(), "holds no Hyphal key"),
        (good[..good.len() - 12].to_owned(), "is truncated"),
        (good.replace("hyphal-key-v1", "hyphal-key-v9"), "another version"),
    ] {
        // Written in place, so the mode stays.
        fs::write(&path, text).unwrap();

        let ran = home.hyphal(&["id", "--key", "a.key"]);

        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
        assert!(ran.err.contains("help:"), "{ran:?}");
    }
}
