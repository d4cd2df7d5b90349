//! An authority signs nothing by a clock that does not go with what it did before, unless its user vouches for the clock.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use hyphal::trust::{
    Existing, ListHeader, Network, RevocationList, read_revocations, sign_revocations, write_revocations,
};
use hyphal::{UnixTime, keyfile};
use serde_json::Value;

use crate::ca::{json, with_authority};
use crate::home::{Home, Ran};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

#[test]
fn a_register_whose_last_entry_lies_in_the_future_is_not_gone_on_from() {
    let home = with_certificate();
    let node = home.keygen("other");
    let before = worked_last(&home, 2 * DAY);

    let refused = [
        home.hyphal(&["ca", "issue", &node, "--node-type", "hyphae", "--dir", "ca"]),
        home.hyphal(&["ca", "renew", "1", "--dir", "ca"]),
        home.hyphal(&["ca", "revoke", "1", "--dir", "ca"]),
        home.hyphal(&["ca", "revoke", "--refresh", "--dir", "ca"]),
    ];

    for Ran { code, err, .. } in refused {
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("it is behind, or was ahead then"), "{err}");
        assert!(err.contains("set the clock; if it is right, say so with --trust-clock"), "{err}");
    }
    assert_eq!(register(&home), before);
    let shown = home.hyphal(&["ca", "list", "--dir", "ca"]);
    assert!(shown.code == Some(0) && shown.out.contains("it is behind, or was ahead then"), "{shown:?}");
}

#[test]
fn a_clock_more_than_a_year_after_the_last_entry_is_not_believed() {
    let home = with_certificate();

    worked_last(&home, -400 * DAY);
    let ahead = home.hyphal(&["ca", "revoke", "--refresh", "--dir", "ca"]);
    worked_last(&home, -300 * DAY);
    let idle = home.hyphal(&["ca", "revoke", "--refresh", "--dir", "ca"]);

    assert_eq!(ahead.code, Some(3), "{ahead:?}");
    assert!(ahead.err.contains("more than a year after the authority last worked"), "{ahead:?}");
    assert_eq!(idle.code, Some(0), "{idle:?}");
}

#[test]
fn a_clock_that_time_synchronisation_has_set_back_a_little_is_believed() {
    let home = with_certificate();
    worked_last(&home, 2 * MINUTE);

    let ran = home.hyphal(&["ca", "revoke", "--refresh", "--dir", "ca"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn who_vouches_for_the_clock_once_goes_on_from_it_and_loses_no_revocation() {
    let home = with_certificate();
    assert_eq!(home.hyphal(&["ca", "revoke", "1", "--dir", "ca"]).code, Some(0));
    // As a list that was signed when the certificate seemed to have expired.
    let serials = |ran: &Ran| {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let bytes = read_revocations(&home.path().join(json(ran)["list"]["path"].as_str().unwrap())).unwrap();
        RevocationList::decode(&bytes).unwrap().serials().collect::<Vec<_>>()
    };
    let not_after = register(&home)["certificates"][0]["not_after"].clone();
    edit(&home, |register| register["certificates"][0]["not_after"] = at(-DAY).into());
    let refresh = ["ca", "revoke", "--refresh", "--dir", "ca", "--json"];
    let left_out = serials(&home.hyphal(&refresh));
    edit(&home, |register| register["certificates"][0]["not_after"] = not_after);
    worked_last(&home, 100 * DAY);

    let vouched = serials(&home.hyphal(&[&refresh[..], &["--trust-clock"]].concat()));
    let after = serials(&home.hyphal(&refresh));

    assert_eq!((left_out, vouched, after), (vec![], vec![1], vec![1]));
}

#[test]
fn a_list_that_is_taken_up_is_held_against_the_clock_too() {
    let home = with_certificate();
    let authority = keyfile::read(&home.path().join("ca/authority.key")).unwrap();
    let header = ListHeader {
        authority: authority.id(),
        version: 9,
        issued_at: UnixTime::from_micros(at(30 * DAY)),
        next_update: UnixTime::from_micros(at(60 * DAY)),
    };
    let mut bytes = vec![0; RevocationList::len_with(1)];
    sign_revocations(&authority, Network::of("garden"), header, &[1], &mut bytes).unwrap();
    write_revocations(&home.path().join("kept"), &bytes, Existing::Keep).unwrap();
    let before = register(&home);
    let take_up = ["ca", "revoke", "--from", "kept", "--dir", "ca", "--json"];

    let refused = home.hyphal(&take_up);
    let unchanged = register(&home);
    let vouched = home.hyphal(&[&take_up[..], &["--trust-clock"]].concat());

    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("it is behind, or was ahead then"), "{refused:?}");
    assert_eq!(unchanged, before);
    assert_eq!(json(&vouched)["list"]["version"], 10);
}

fn with_certificate() -> Home {
    let home = with_authority();
    let node = home.keygen("node");
    assert_eq!(home.hyphal(&["ca", "issue", &node, "--node-type", "hyphae", "--dir", "ca"]).code, Some(0));
    home
}

/// Has the register say that its last change was this many seconds after the present; gives the register.
fn worked_last(home: &Home, seconds: i64) -> Value {
    edit(home, |register| register["changed_at"] = at(seconds).into());
    register(home)
}

fn edit(home: &Home, change: impl FnOnce(&mut Value)) {
    let mut register = register(home);
    change(&mut register);
    fs::write(home.path().join("ca/register.json"), register.to_string()).unwrap();
}

fn register(home: &Home) -> Value {
    serde_json::from_slice(&fs::read(home.path().join("ca/register.json")).unwrap()).unwrap()
}

/// So many seconds from now, in microseconds since 1970.
fn at(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(seconds).unwrap() * 1_000_000
}
