//! Settings through the command: mistakes are named by file and line, variable or flag; the documentation is complete.

use std::fmt::Write;
use std::path::Path;

use crate::home::Home;
use hyphal::config::{Config, Sources, settings};

#[test]
fn a_mistake_in_the_file_is_reported_by_file_line_and_setting() {
    let home = Home::new();
    home.write("bad.toml", "network = 'a'\n\n[limits]\nmax_message = '2 GiB'\n");
    home.write("unknown.toml", "network = 'a'\nlisten_on = []\n");
    home.write("broken.toml", "network = 'a'\nlisten = [\n");

    let bad = home.hyphal(&["id", "--config", "bad.toml"]);
    assert_eq!(bad.code, Some(3), "{bad:?}");
    assert!(bad.err.contains("bad.toml:4: limits.max_message: 2 GiB is too large"), "{bad:?}");
    assert!(bad.err.contains("allowed: 1 KiB to 1 GiB"), "{bad:?}");

    let unknown = home.hyphal(&["id", "--config", "unknown.toml"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.err.contains("unknown.toml:2: listen_on: there is no such setting"), "{unknown:?}");

    let broken = home.hyphal_with(&[("HYPHAL_CONFIG", "broken.toml")], &["id"]);
    assert_eq!(broken.code, Some(3), "{broken:?}");
    assert!(broken.err.contains("broken.toml:") && broken.err.contains("not valid TOML"), "{broken:?}");
}

#[test]
fn an_outbox_too_small_for_a_message_is_refused_and_one_that_just_fits_is_used() {
    let home = Home::new();
    home.keygen("a");
    let text = "key = 'a.key'\nlisten = ['127.0.0.1:0']\n[limits]\noutbox_bytes = '32 KiB'\n";
    home.write("small.toml", text);
    home.write("fits.toml", &format!("{text}max_message = '32 KiB'\n"));

    let small = home.hyphal(&["node", "--config", "small.toml"]);
    assert_eq!(small.code, Some(3), "{small:?}");
    assert!(small.err.contains("small.toml:4: limits.outbox_bytes: the outbox has no room"), "{small:?}");
    assert!(small.err.contains("help: make outbox_bytes at least as large as max_message"), "{small:?}");

    let fits = home.start(&["node", "--json", "--config", "fits.toml"]);
    fits.event("started");
}

#[test]
fn a_bad_or_unknown_variable_is_refused() {
    let home = Home::new();

    let bad = home.hyphal_with(&[("HYPHAL_TIMEOUTS_CONNECT", "soon")], &["id"]);
    assert_eq!(bad.code, Some(3), "{bad:?}");
    assert!(
        bad.err.contains("variable HYPHAL_TIMEOUTS_CONNECT: timeouts.connect: 'soon' is not a span"),
        "{bad:?}"
    );

    let unknown = home.hyphal_with(&[("HYPHAL_NETWROK", "a")], &["id"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.err.contains("did you mean HYPHAL_NETWORK?"), "{unknown:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let ran = Home::new().hyphal(&["id", "--config", "none.toml"]);

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("cannot read the configuration file none.toml"), "{ran:?}");
}

#[test]
fn the_documentation_lists_every_setting_as_the_code_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark where the settings begin");
    let (_, after) = rest.split_once(END).expect("the page has the mark where the settings end");
    let expected = format!("{before}{BEGIN}\n{}{END}{after}", reference());

    if std::env::var_os("HYPHAL_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(page == expected, "run: HYPHAL_BLESS=1 cargo test -p hyphal --test cli configuration");
    }
}

#[test]
fn the_example_file_names_every_setting_and_states_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hyphal.example.toml");
    if std::env::var_os("HYPHAL_BLESS").is_some() {
        std::fs::write(&path, example()).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == example(),
        "run: HYPHAL_BLESS=1 cargo test -p hyphal --test cli configuration"
    );

    let config = Config::load(&Sources {
        file: Some(path),
        environment: vec![("HOME".into(), "/home/a".into())],
        ..Sources::default()
    });

    assert_eq!(config.unwrap(), Config::with_key("/home/a/.local/share/hyphal/identity.key".into()));
}

const BEGIN: &str = "<!-- settings: written by a test, see tests/cli/configuration.rs -->";
const END: &str = "<!-- end of the settings -->";

fn reference() -> String {
    let mut text =
        String::from("| Setting | Default | Allowed | What it does | Reload |\n|---|---|---|---|---|\n");
    for setting in settings() {
        let allowed = setting.allowed.replace('|', "\\|");
        let reloads = if setting.reloads { "yes" } else { "" };
        let hyphal::config::Setting { name, default, doc, .. } = setting;
        writeln!(text, "| `{name}` | `{default}` | {allowed} | {doc} | {reloads} |").unwrap();
    }
    text
}

fn example() -> String {
    let mut text = String::from(
        "# Every setting of a Hyphal node with its default. Keep what you change, delete the rest.\n",
    );
    let mut section = "";
    for setting in settings() {
        let (own_section, name) = setting.name.split_once('.').unwrap_or(("", setting.name));
        if own_section != section {
            section = own_section;
            writeln!(text, "\n[{section}]").unwrap();
        }
        writeln!(text, "\n# {}\n# Allowed: {}\n{name} = {}", setting.doc, setting.allowed, setting.default)
            .unwrap();
    }
    text
}
