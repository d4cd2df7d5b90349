//! Reading settings from every source; the process tests in tests/cli/ hold the same through the command.

use std::fs;

use hyphal_core::identity::Identity;

use super::*;

#[test]
fn no_source_gives_the_defaults() {
    let sources = Sources { environment: vec![("HOME".into(), "/home/a".into())], ..Sources::default() };

    let config = Config::load(&sources).unwrap();

    assert_eq!(config, Config::with_key("/home/a/.local/share/hyphal/identity.key".into()));
}

#[test]
fn every_default_is_allowed_by_its_own_rule_in_the_file() {
    let text: String =
        settings().map(|setting| format!("{} = {}\n", setting.name, setting.default)).collect();
    let file = File::new(&text);
    let sources = Sources { file: Some(file.path()), ..environment(&[("HOME", "/home/a".to_owned())]) };

    let config = Config::load(&sources).unwrap();

    assert_eq!(config, Config::with_key("/home/a/.local/share/hyphal/identity.key".into()));
}

#[test]
fn a_later_source_wins() {
    let file = File::new("network = 'file'\nnode_type = 'hyphae'\nlimits.max_peers = 7");
    let sources = Sources {
        file: Some(file.path()),
        environment: vec![
            ("HYPHAL_NETWORK".into(), "variable".into()),
            ("HYPHAL_LIMITS_MAX_PEERS".into(), "8".into()),
            ("HYPHAL_CONFIG".into(), "/nonexistent, and --config wins".into()),
        ],
        arguments: vec![argument("--network", "network", &["flag"])],
    };

    let config = Config::load(&sources).unwrap();

    assert_eq!(config.network, "flag");
    assert_eq!(config.limits.max_peers, 8);
    assert_eq!(config.node_type, NodeType::Hyphae);
}

#[test]
fn values_of_every_kind_are_read_from_text() {
    let id = id(0);
    let variables = [
        ("HYPHAL_LISTEN", "127.0.0.1:1, [::1]:2".to_owned()),
        ("HYPHAL_PEERS", format!("{id}@host:3")),
        ("HYPHAL_TRUST_POLICY", "pinned".to_owned()),
        ("HYPHAL_TRUST_ADMIT", String::new()),
        ("HYPHAL_LIMITS_MAX_MESSAGE", "32 KiB".to_owned()),
        ("HYPHAL_TIMEOUTS_CONNECT", "250ms".to_owned()),
        ("HYPHAL_TCP_NODELAY", "false".to_owned()),
        ("HYPHAL_TCP_KEEPALIVE", "off".to_owned()),
        ("HYPHAL_TCP_SEND_BUFFER", "1mib".to_owned()),
        ("HYPHAL_WORKER_THREADS", "3".to_owned()),
        ("HYPHAL_LOG_FILTER", "warn,hyphal::link=debug".to_owned()),
    ];

    let config = Config::load(&environment(&variables)).unwrap();

    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(config.peers[0].to_string(), format!("{id}@host:3"));
    assert_eq!(config.trust.policy, TrustPolicy::Pinned);
    assert_eq!(config.trust.admit, []);
    assert_eq!(config.limits.max_message, 32 * 1024);
    assert_eq!(config.timeouts.connect, Duration::from_millis(250));
    assert!(!config.tcp.nodelay);
    assert_eq!(config.tcp.keepalive, None);
    assert_eq!(config.tcp.send_buffer, Some(1024 * 1024));
    assert_eq!(config.worker_threads, Some(3));
    assert_eq!(config.log.filter, "warn,hyphal::link=debug");
}

#[test]
fn mistakes_in_the_file_are_named_by_line_and_setting() {
    let cases = [
        ("a = \n", 1, None, "not valid TOML"),
        ("network = 'a'\nnetwork = 'b'", 2, None, "not valid TOML"),
        ("\nnetwrok = 'a'", 2, Some("netwrok"), "no such setting"),
        ("[limits]\n\nmax_mesage = 5", 3, Some("limits.max_mesage"), "no such setting"),
        ("limits = 5", 1, Some("limits"), "no such setting"),
        ("[nothing]\nx = 1", 1, Some("nothing"), "no such setting"),
        ("network = 5", 1, Some("network"), "not an integer"),
        ("network = ''", 1, Some("network"), "0 bytes"),
        ("node_type = 'server'", 1, Some("node_type"), "'server' is none"),
        ("listen = '1.2.3.4:5'", 1, Some("listen"), "a list is expected"),
        ("listen = [\n'1.2.3.4:5',\n'1.2.3.4',\n]", 3, Some("listen"), "'1.2.3.4'"),
        ("peers = ['host:1']", 1, Some("peers"), "no '@'"),
        ("limits.max_message = '2 GiB'", 1, Some("limits.max_message"), "2 GiB is too large"),
        ("limits.max_message = 10", 1, Some("limits.max_message"), "10 B is too small"),
        ("limits.max_message = '32 KB'", 1, Some("limits.max_message"), "'32 KB' is not a size"),
        ("limits.max_peers = -1", 1, Some("limits.max_peers"), "-1 is negative"),
        ("limits.max_peers = 1.5", 1, Some("limits.max_peers"), "not a number with a fraction"),
        ("limits.max_peers = '7'", 1, Some("limits.max_peers"), "not a string"),
        ("limits.max_peers = 99999999999999999999", 1, Some("limits.max_peers"), "more than 64 bits"),
        ("timeouts.connect = 5", 1, Some("timeouts.connect"), "a span with its unit"),
        ("timeouts.connect = '5'", 1, Some("timeouts.connect"), "'5' is not a span"),
        ("timeouts.connect = '1us'", 1, Some("timeouts.connect"), "1us is too short"),
        ("tcp.nodelay = 'yes'", 1, Some("tcp.nodelay"), "true or false"),
        ("log.filter = 'infoo'", 1, Some("log.filter"), "'infoo' is neither"),
        ("x = 1\n[limits]\nmax_peers = 0", 1, Some("x"), "no such setting"),
        ("limits.outbox_bytes = 2048", 1, Some("limits.outbox_bytes"), "no room"),
        ("limits.assembly_bytes = 2048", 1, Some("limits.assembly_bytes"), "never be put together"),
    ];
    for (text, line, setting, problem) in cases {
        let error = load(text).unwrap_err();

        assert!(matches!(error.origin, Origin::File { line: found, .. } if found == line), "{text}: {error}");
        assert_eq!(error.setting.as_deref(), setting, "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
        assert!(!error.remedy.is_empty(), "{text}");
    }
}

#[test]
fn a_misspelt_setting_gets_the_name_that_was_meant() {
    for (wrong, right) in [
        ("netwrok = 'a'", "network"),
        ("max_message = 5", "limits.max_message"),
        ("timeouts.conect = '1s'", "timeouts.connect"),
    ] {
        assert_eq!(load(wrong).unwrap_err().remedy, format!("did you mean {right}?"));
    }
}

#[test]
fn a_bad_variable_is_named_and_an_unknown_one_refused() {
    let bad = Config::load(&environment(&[("HYPHAL_TCP_NODELAY", "maybe".to_owned())])).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "variable HYPHAL_TCP_NODELAY: tcp.nodelay: 'maybe' is neither true nor false"
    );
    assert_eq!(bad.remedy, "allowed: true, false");

    let unknown = Config::load(&environment(&[("HYPHAL_TRUST_POLCY", "pinned".to_owned())])).unwrap_err();
    assert_eq!(unknown.to_string(), "variable HYPHAL_TRUST_POLCY: no setting has this variable");
    assert_eq!(unknown.remedy, "did you mean HYPHAL_TRUST_POLICY?");
}

#[test]
fn variables_of_a_kubernetes_service_are_not_settings() {
    let variables =
        ["HYPHAL_SERVICE_HOST", "HYPHAL_SERVICE_PORT_MAIN", "HYPHAL_PORT", "HYPHAL_PORT_4857_TCP_ADDR"];
    let variables = variables.map(|name| (name, "tcp://10.0.0.1:4857".to_owned()));

    assert!(Config::load(&environment(&variables)).is_ok());
}

#[test]
fn a_bad_flag_is_named() {
    let sources = |argument| Sources { arguments: vec![argument], ..Sources::default() };

    let bad = Config::load(&sources(argument("--peer", "peers", &["a", "b"]))).unwrap_err();
    assert!(bad.to_string().starts_with("--peer: peers: 'a': there is no '@'"), "{bad}");

    let unknown = Config::load(&sources(argument("--set", "limits.speed", &["1"]))).unwrap_err();
    assert_eq!(unknown.to_string(), "--set: limits.speed: there is no such setting");
}

#[test]
fn a_peer_is_listed_once() {
    let error = load(&format!("peers = ['{0}@a:1', '{1}@a:1', '{0}@b:1']", id(0), id(128))).unwrap_err();

    assert!(error.problem.contains(&format!("{} is listed twice", id(0))), "{error}");
}

#[test]
fn the_keys_path_counts_from_the_file_that_names_it() {
    let file = File::new("key = 'keys/a.key'");
    let relative = Config::load(&Sources { file: Some(file.path()), ..Sources::default() }).unwrap();
    assert_eq!(relative.key, file.directory.path().join("keys/a.key"));

    let variables = [("HYPHAL_KEY", "~/a.key".to_owned()), ("HOME", "/home/a".to_owned())];
    let of_home = Config::load(&environment(&variables)).unwrap();
    assert_eq!(of_home.key, PathBuf::from("/home/a/a.key"));

    let homeless = Config::load(&environment(&variables[..1])).unwrap_err();
    assert_eq!(homeless.origin, Origin::Variable("HYPHAL_KEY".to_owned()));
}

#[test]
fn a_missing_file_is_reported_where_it_was_named() {
    let error =
        Config::load(&environment(&[("HYPHAL_CONFIG", "/nonexistent/a.toml".to_owned())])).unwrap_err();

    assert_eq!(error.origin, Origin::Variable("HYPHAL_CONFIG".to_owned()));
    assert!(error.problem.contains("/nonexistent/a.toml"));
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = File::new(text);
    Config::load(&Sources { file: Some(file.path()), ..Sources::default() })
}

/// A configuration file that lives as long as the test needs it; `load` needs it during the call only.
struct File {
    directory: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(file.path(), text).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("hyphal.toml")
    }
}

fn environment(variables: &[(&str, String)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Sources { environment, ..Sources::default() }
}

fn argument(flag: &str, setting: &str, values: &[&str]) -> Argument {
    Argument {
        flag: flag.to_owned(),
        setting: setting.to_owned(),
        values: values.iter().map(ToString::to_string).collect(),
    }
}

/// The first id whose seed repeats one byte that is at least `from`.
fn id(from: u8) -> NodeId {
    (from..=255).find_map(|byte| Identity::from_seed(&[byte; 32]).ok()).unwrap().id()
}
