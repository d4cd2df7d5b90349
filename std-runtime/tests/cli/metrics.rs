//! `hyphal node --metrics`: a page that can be scraped, and clear words where there can be none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::home::Home;

#[test]
fn a_node_serves_its_numbers_where_it_is_told_to_and_says_where() {
    let home = Home::new();
    let id = home.keygen("a");
    let node = home.start(&[&NODE[..], &["--json", "--metrics", "127.0.0.1:0"]].concat());

    let started = node.event("started");
    let page = get(started["metrics"].as_str().unwrap());

    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(page.contains(&format!("hyphal_node_info{{id=\"{id}\",version=\"")), "{page}");
    assert!(page.contains("\nhyphal_sessions_started_total 0\n"), "{page}");
}

#[test]
fn a_node_serves_none_unless_it_is_told_to() {
    let home = Home::new();
    home.keygen("a");
    let node = home.start(&[&NODE[..], &["--json"]].concat());

    assert!(node.event("started").get("metrics").is_none());
}

#[test]
fn the_address_may_stand_in_the_configuration_and_peers_may_be_left_out() {
    let home = Home::new();
    home.keygen("a");
    home.write(
        "node.toml",
        "key = 'a.key'\nlisten = ['127.0.0.1:0']\nmetrics = '127.0.0.1:0'\nmetrics_peers = 0\n",
    );
    let stranger = home.keygen("b");
    let peer = format!("{stranger}@127.0.0.1:1");
    let node = home.start(&["node", "--json", "--config", "node.toml", "--peer", &peer]);

    let page = get(node.event("started")["metrics"].as_str().unwrap());

    assert!(page.contains("\nhyphal_peers_unlisted 1\n"), "{page}");
    assert!(!page.contains(&stranger), "{page}");
}

#[test]
fn an_edit_that_cannot_be_read_is_counted_among_the_reloads_that_were_refused() {
    let home = Home::new();
    home.keygen("a");
    let right = "key = 'a.key'\nlisten = ['127.0.0.1:0']\nmetrics = '127.0.0.1:0'\n";
    home.write("node.toml", right);
    let node = home.start(&["node", "--json", "--config", "node.toml"]);
    let metrics = node.event("started")["metrics"].as_str().unwrap().to_owned();

    home.replace("node.toml", &format!("{right}peers = [\n"));
    node.event("reload_refused");
    home.replace("node.toml", &format!("{right}peers = []\n"));
    node.event("reloaded");

    let page = get(&metrics);
    assert!(page.contains("\nhyphal_reloads_refused_total{cause=\"unreadable\"} 1\n"), "{page}");
    assert!(page.contains("\nhyphal_reloads_total 1\n"), "{page}");
}

#[test]
fn an_address_that_others_reach_is_warned_of() {
    let home = Home::new();
    home.keygen("a");
    let node = home.start(&[&NODE[..], &["--metrics", "0.0.0.0:0"]].concat());

    let warning = node.err_after("warning: ");

    assert!(warning.contains("there is no authentication"), "{warning}");
}

#[test]
fn an_address_that_is_none_a_port_in_use_and_another_machines_are_told() {
    let home = Home::new();
    home.keygen("a");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();

    for (address, code, message, help) in [
        (
            "localhost:99999",
            2,
            "--metrics: metrics: 'localhost:99999': invalid socket address",
            "allowed: IP:PORT",
        ),
        ("4859", 2, "--metrics: metrics: '4859': invalid socket address", "allowed: IP:PORT"),
        (&taken, 1, "is in use, so no metrics can be served there", "choose another port with --metrics"),
        (
            "192.0.2.1:4859",
            1,
            "cannot serve metrics on 192.0.2.1:4859: ",
            "choose an address of this machine",
        ),
    ] {
        let ran = home.hyphal(&[&NODE[..], &["--metrics", address]].concat());

        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{ran:?}");
        assert!(ran.err.contains(message) && ran.err.contains(help), "{ran:?}");
    }
}

fn get(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const NODE: [&str; 5] = ["node", "--key", "a.key", "--listen", "127.0.0.1:0"];
