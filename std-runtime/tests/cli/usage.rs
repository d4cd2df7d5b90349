//! A wrong command line ends with code 2 and says what would be right; help and completions know every command.

use crate::home::Home;

/// The id of no node of these tests.
const SOMEBODY: &str = "hy13lmcfc2e77mgcypy3maxfcexa666xadrwx6hztjge0yxeqqa9euscnwr4p";

const COMMANDS: [&str; 10] =
    ["keygen", "id", "doctor", "node", "send", "listen", "ping", "bench", "demo", "completions"];

#[test]
fn a_wrong_command_line_is_refused_with_code_2() {
    let home = Home::new();
    let slashless = format!("{SOMEBODY}@udp:/x");
    let cases: [(&[&str], &str); 12] = [
        (&["nonsense"], "unrecognized subcommand"),
        (&["id", "--nonsense"], "unexpected argument '--nonsense'"),
        (&["id", "--set", "network"], "write NAME=VALUE"),
        (&["send", "text"], "--to <PEER>|--broadcast"),
        (&["send", "--to", "nonsense", "text"], "a peer is an ID, or ID@HOST:PORT"),
        (&["send", "--to", "nonsense@host:1", "text"], "the id before '@' is wrong"),
        (&["send", "--to", &slashless, "text"], "after 'udp:' there are not two slashes"),
        (&["send", "--broadcast", "--priority", "urgent", "text"], "low, medium, high, critical"),
        (&["send", "--broadcast", "--ttl", "soon", "text"], "--ttl"),
        (&["ping"], "<PEER>"),
        (&["listen", "--count", "0"], "--count"),
        (&["completions", "tcsh"], "possible values"),
    ];
    for (arguments, expected) in cases {
        let ran = home.hyphal(arguments);

        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn a_bad_value_of_a_setting_on_the_command_line_is_refused_by_its_flag() {
    let home = Home::new();
    let cases: [(&[&str], &str); 7] = [
        (&["doctor", "--peer", "host:1"], "--peer: peers: 'host:1': there is no '@'"),
        (
            &["node", "--listen", "serial://"],
            "'' is not the full path of a device; write serial:///dev/ttyUSB0",
        ),
        (&["node", "--listen", "udp:127.0.0.1:1"], "after 'udp:' there are not two slashes; write udp://"),
        (&["id", "--network", ""], "--network: network: the name has 0 bytes"),
        (&["id", "--log", "loud"], "--log: log.filter: 'loud' is neither LEVEL nor MODULE=LEVEL"),
        (&["id", "--set", "limits.max_peers=many"], "--set: limits.max_peers: 'many' is not a whole number"),
        (&["id", "--set", "limits.speed=1"], "--set: limits.speed: there is no such setting"),
    ];
    for (arguments, expected) in cases {
        let ran = home.hyphal(arguments);

        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_name_in_memory_is_refused_by_a_process_that_is_one_node() {
    let home = Home::new();
    home.keygen("own");
    let peer = format!("{SOMEBODY}@memory://there");
    let cases: [(&[&str], i32); 6] = [
        (&["node", "--listen", "memory://here"], 2),
        (&["listen", "--peer", &peer], 2),
        (&["send", "--to", &peer, "hello"], 2),
        (&["ping", &peer], 2),
        (&["doctor", "--peer", &peer], 2),
        (&["node", "--set", "listen=memory://here"], 3),
    ];
    for (arguments, code) in cases {
        let ran = home.hyphal(&[arguments, &["--key", "own.key"]].concat());

        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("joins nodes of one process"), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("help: write HOST:PORT, udp://"), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn every_command_has_help_and_says_how_to_use_it() {
    let home = Home::new();
    let overview = home.hyphal(&["--help"]);
    assert_eq!(overview.code, Some(0));
    assert!(overview.out.contains("Exit codes:"));

    for command in COMMANDS {
        let help = home.hyphal(&[command, "--help"]);

        assert!(overview.out.contains(&format!("  {command} ")), "{command} is not in the overview");
        assert_eq!(help.code, Some(0), "{command}");
        assert!(help.out.contains("Usage: hyphal"), "{command}");
        assert!(command == "bench" || help.out.contains("Examples:"), "{command}");
    }
}

#[test]
fn the_documentation_of_the_command_line_knows_every_command_and_exit_code() {
    let documentation = include_str!("../../../docs/cli.md");

    for command in COMMANDS {
        assert!(documentation.contains(&format!("`hyphal {command}")), "{command}");
    }
    for code in ["0", "1", "2", "3", "4", "130"] {
        assert!(documentation.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn completions_exist_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = home.hyphal(&["completions", shell]);

        assert_eq!(ran.code, Some(0), "{shell}");
        for command in COMMANDS {
            assert!(ran.out.contains(command), "{shell} does not complete {command}");
        }
    }
}

#[test]
fn output_to_a_pipe_has_no_styles() {
    let ran = Home::new().hyphal(&["doctor"]);

    assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{ran:?}");
}
