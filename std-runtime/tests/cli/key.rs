//! `hyphal key`: delegated keys, backups and their return, and that nothing is ever written over.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::home::{Home, Ran};

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn a_delegated_key_has_the_id_of_the_identity_and_says_until_when() {
    let home = Home::new();
    let id = home.keygen("own");

    let made = home.hyphal(&["key", "delegate", "--key", "own.key", "--days", "7", "--out", "node.key"]);
    let shown = home.hyphal(&["id", "--key", "node.key"]);

    assert_eq!((made.code, made.out.trim()), (Some(0), id.as_str()), "{made:?}");
    assert!(made.err.contains("node.key stands for this id until 20"), "{made:?}");
    assert_eq!(shown.out.trim(), id, "{shown:?}");
    assert!(shown.err.contains("a delegated key, valid from 20"), "{shown:?}");
    assert!(!fs::read_to_string(home.path().join("node.key")).unwrap().contains("hyphal-key-v1"));
}

/// Typed at a terminal that shows nothing of a passphrase: when the command has ended it shows again what is typed.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_and_ctrl_d_at_the_passphrase_leave_the_terminal_as_it_was() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::tcgetattr;
    use std::io::Read as _;
    let home = Home::new();
    home.keygen("own");
    for (typed, code, said) in [(b"\x03", 130, "interrupted"), (b"\x04", 2, "no passphrase was typed")] {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
        let far = || fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let terminal = far();
        let before = tcgetattr(&terminal).unwrap().local_modes;
        let own = home.command(&["key", "backup", "--key", "own.key"]);
        let mut command = std::process::Command::new("setsid");
        command.arg("--ctty").arg(own.get_program()).args(own.get_args()).current_dir(home.path());
        command.env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap());
        let child = command.stdin(far()).stdout(far()).stderr(Stdio::piped()).spawn().unwrap();
        let mut near = fs::File::from(near);
        let (mut shown, mut byte) = (Vec::new(), [0]);
        while !shown.ends_with(b"Passphrase: ") {
            near.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        // It asks before it hides what is typed.
        while tcgetattr(&terminal).unwrap().local_modes == before {
            std::thread::yield_now();
        }

        near.write_all(typed).unwrap();
        let ran = Ran::new(&child.wait_with_output().unwrap());

        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.err.contains(said), "{ran:?}");
        assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before);
    }
}

#[cfg(unix)]
#[test]
fn what_holds_a_key_is_for_its_owner_only() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    home.keygen("own");
    home.write("pass", PASSPHRASE);
    home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "node.key"]);
    home.hyphal(&["key", "backup", "--key", "own.key", "--out", "own.backup", "--passphrase-file", "pass"]);
    home.hyphal(&["key", "restore", "own.backup", "--out", "again.key", "--passphrase-file", "pass"]);

    for file in ["node.key", "own.backup", "again.key"] {
        assert_eq!(fs::metadata(home.path().join(file)).unwrap().mode() & 0o7777, 0o600, "{file}");
    }
}

#[test]
fn json_tells_the_times_of_a_delegated_key() {
    let home = Home::new();
    home.keygen("own");

    let made = home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "node.key", "--json"]);
    let shown = home.hyphal(&["id", "--key", "node.key", "--json"]);

    let made: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(made, shown);
    assert!(made["not_before"].as_str().unwrap() < made["not_after"].as_str().unwrap(), "{made}");
}

#[test]
fn a_delegated_key_can_neither_delegate_nor_be_backed_up() {
    let home = Home::new();
    home.keygen("own");
    home.write("pass", PASSPHRASE);
    home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "node.key"]);

    let again = home.hyphal(&["key", "delegate", "--key", "node.key", "--out", "more.key"]);
    let backup = home.hyphal(&["key", "backup", "--key", "node.key", "--passphrase-file", "pass"]);

    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.err.contains("this is a delegated key, and only the node's own key can sign"), "{again:?}");
    assert_eq!((backup.code, backup.out.as_str()), (Some(3), ""), "{backup:?}");
    assert!(backup.err.contains("a delegated key, which needs no backup"), "{backup:?}");
}

#[test]
fn days_beyond_a_year_are_a_wrong_command_line() {
    let home = Home::new();
    home.keygen("own");
    for days in ["0", "367", "-1", "many"] {
        let ran = home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "n.key", "--days", days]);

        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}

#[test]
fn what_is_sealed_to_a_delegated_key_that_was_never_seen_before_is_opened() {
    let home = Home::new();
    home.keygen("own");
    home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "node.key"]);
    let delegated = home.start(&["listen", "--key", "node.key", "--listen", "127.0.0.1:0", "--count", "1"]);
    let address = delegated.err_after("listening on ");

    let sent = home.hyphal(&["send", "--ephemeral-key", "--seal", "--to", &address, "for you alone"]);

    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(delegated.line().ends_with(",sealed for you alone"));
}

#[test]
fn a_message_of_and_to_a_delegated_key_is_of_and_to_its_node() {
    let home = Home::new();
    let id = home.keygen("own");
    home.hyphal(&["key", "delegate", "--key", "own.key", "--out", "node.key"]);
    let (anybody, to_anybody) = home.listen(&["--json", "--count", "1"]);
    let delegated = home.start(&["listen", "--key", "node.key", "--listen", "127.0.0.1:0", "--count", "1"]);
    let to_delegated = delegated.err_after("listening on ");

    let from = home.hyphal(&["send", "--key", "node.key", "--to", &to_anybody, "from it"]);
    let to = home.hyphal(&["send", "--ephemeral-key", "--to", &to_delegated, "to it"]);

    assert_eq!((from.code, to.code), (Some(0), Some(0)), "{from:?} {to:?}");
    assert_eq!(anybody.json()["source_node_id"], id);
    assert!(to_delegated.starts_with(&id), "{to_delegated}");
    assert!(delegated.line().contains("to it"));
}

#[test]
fn a_key_that_has_ended_is_refused_at_the_start_and_found_by_doctor() {
    let home = Home::new();
    write_key(&home, "ended.key", -3600, -1);

    let ran = home.hyphal(&["send", "--key", "ended.key", "--to", &peer(), "hello"]);
    let examined = home.hyphal(&["doctor", "--key", "ended.key", "--listen", "127.0.0.1:0"]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("the node's key is a delegated one, valid from"), "{ran:?}");
    assert!(ran.err.contains("hyphal key delegate"), "{ran:?}");
    assert!(examined.out.contains("the delegated key in ended.key has ended at"), "{examined:?}");
}

#[test]
fn doctor_warns_before_a_key_ends() {
    let home = Home::new();
    write_key(&home, "soon.key", -36_000, 3600);
    write_key(&home, "later.key", -60, 36_000);
    write_key(&home, "early.key", 3600, 36_000);

    let of = |key| home.hyphal(&["doctor", "--key", key, "--listen", "127.0.0.1:0"]).out;

    let (soon, later, early) = (of("soon.key"), of("later.key"), of("early.key"));
    assert!(soon.contains("warn") && soon.contains("make a new one where the node's own key is"), "{soon}");
    assert!(later.contains("holds a key that stands for") && !later.contains("make a new one"), "{later}");
    assert!(early.contains("is valid from"), "{early}");
}

#[test]
fn a_backup_gives_the_same_identity_back() {
    let home = Home::new();
    let id = home.keygen("own");
    home.write("pass", &format!("{PASSPHRASE}\nthe second line counts for nothing\n"));

    let printed = home.hyphal(&["key", "backup", "--key", "own.key", "--passphrase-file", "pass"]);
    home.write("printed", &printed.out);
    let restored =
        home.hyphal(&["key", "restore", "printed", "--out", "new/own.key", "--passphrase-file", "pass"]);

    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.out.contains(&id), "{printed:?}");
    assert_eq!((restored.code, restored.out.trim()), (Some(0), id.as_str()), "{restored:?}");
    let [own, again] =
        ["own.key", "new/own.key"].map(|file| fs::read_to_string(home.path().join(file)).unwrap());
    assert_eq!(own, again);
    let seed = own.split_whitespace().nth_back(1).unwrap();
    assert!(!printed.out.contains(seed));
}

#[test]
fn a_backup_can_be_typed() {
    let home = Home::new();
    let id = home.keygen("own");
    home.write("pass", PASSPHRASE);
    let printed = home.hyphal(&["key", "backup", "--key", "own.key", "--passphrase-file", "pass"]).out;
    let lines = printed.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let typed: String = lines.map(|line| format!("{}\r\n", line.to_uppercase().replace('-', " "))).collect();

    let ran = restore_from_input(&home, &typed);

    assert_eq!((ran.code, ran.out.trim()), (Some(0), id.as_str()), "{ran:?}");
}

#[test]
fn a_wrong_passphrase_or_a_damaged_backup_restores_nothing() {
    let home = Home::new();
    home.keygen("own");
    home.write("pass", PASSPHRASE);
    home.write("wrong", "correct horse battery stapel");
    let printed = home.hyphal(&["key", "backup", "--key", "own.key", "--passphrase-file", "pass"]).out;
    home.write("good", &printed);
    let line = printed.lines().find(|line| line.starts_with('4')).unwrap();
    home.write("typo", &printed.replace(line, &format!("4 qqqq{}", &line[6..])));
    home.write("short", &printed.replace(line, ""));
    home.write("key", &fs::read_to_string(home.path().join("own.key")).unwrap());

    for (file, pass, expected) in [
        ("good", "wrong", "the passphrase does not open this backup"),
        ("typo", "pass", "line 4 of the backup is damaged"),
        ("short", "pass", "line 4 of the backup is missing"),
        ("key", "pass", "this is no backup of an identity"),
        ("none", "pass", "cannot read the backup none"),
        ("good", "none", "cannot read the passphrase from none"),
    ] {
        let ran = home.hyphal(&["key", "restore", file, "--out", "again.key", "--passphrase-file", pass]);

        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
        assert!(ran.err.contains(expected) && ran.err.contains("help:"), "{ran:?}");
        assert!(!home.path().join("again.key").exists(), "{file}");
    }
}

#[test]
fn nothing_that_exists_is_written_over() {
    let home = Home::new();
    home.keygen("own");
    home.write("pass", PASSPHRASE);
    home.hyphal(&["key", "backup", "--key", "own.key", "--out", "backup", "--passphrase-file", "pass"]);
    home.write("precious", "precious");

    for command in [
        &["key", "delegate", "--key", "own.key", "--out", "precious"][..],
        &["key", "backup", "--key", "own.key", "--out", "precious", "--passphrase-file", "pass"],
        &["key", "restore", "backup", "--out", "precious", "--passphrase-file", "pass"],
        &["key", "restore", "backup", "--key", "precious", "--passphrase-file", "pass"],
    ] {
        let ran = home.hyphal(command);

        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains("precious exists already"), "{ran:?}");
        assert!(ran.err.contains("name another file") && !ran.err.contains("--force"), "{ran:?}");
        assert_eq!(fs::read_to_string(home.path().join("precious")).unwrap(), "precious");
    }
}

#[test]
fn a_passphrase_that_is_too_short_makes_no_backup() {
    let home = Home::new();
    home.keygen("own");
    for (name, content) in [("empty", ""), ("short", "1234567\n"), ("blank", "\n12345678")] {
        home.write(name, content);

        let ran = home.hyphal(&["key", "backup", "--key", "own.key", "--passphrase-file", name]);

        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains("fewer than 8 characters"), "{ran:?}");
    }
}

/// A delegated key that counts from and until so many seconds from this moment on.
fn write_key(home: &Home, name: &str, from: i64, until: i64) {
    use getrandom::{SysRng, rand_core::UnwrapErr};
    use hyphal::keyfile::{self, Existing};
    use hyphal::{Identity, UnixTime};
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let now = u64::try_from(now).unwrap();
    let [from, until] =
        [from, until].map(|seconds| UnixTime::from_micros(now.saturating_add_signed(seconds * 1_000_000)));
    let own = Identity::from_seed(&[7; 32]).unwrap();
    let delegated = own.delegate(from, until, &mut UnwrapErr(SysRng)).unwrap();
    keyfile::create(&home.path().join(name), &delegated, Existing::Replace).unwrap();
}

/// Somebody whom nobody will reach.
fn peer() -> String {
    let own = (8..).find_map(|byte| hyphal::Identity::from_seed(&[byte; 32]).ok()).unwrap();
    format!("{}@127.0.0.1:9", own.id())
}

fn restore_from_input(home: &Home, typed: &str) -> Ran {
    let mut command =
        home.command(&["key", "restore", "-", "--out", "again.key", "--passphrase-file", "pass"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    Ran::new(&child.wait_with_output().unwrap())
}
