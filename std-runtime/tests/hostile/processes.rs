//! A second process or a mistake beside a running node.

use hyphal::{Node, StartError};

use crate::scene::{ECHO, NETWORK, Scene, identity};

#[tokio::test]
async fn a_port_in_use_is_refused_and_its_owner_goes_on() {
    let mut scene = Scene::new().await;
    let address = scene.address();

    let started = Node::builder().identity(identity(ECHO)).network(NETWORK).listen(address).start().await;

    let error = started.unwrap_err();
    assert!(matches!(&error, StartError::Listen { endpoint, .. } if *endpoint == address.into()));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: the port is in use; stop the other process or choose another port"
        )
    );
    scene.assert_friend_is_unharmed().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_process_with_a_wrong_key_a_broken_configuration_or_a_port_in_use_ends_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;

    let mut scene = Scene::new().await;
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str| home.path().join(name);
    hyphal(home.path(), &["keygen", "--out", "good.key"]).await;
    hyphal(home.path(), &["keygen", "--out", "wide.key"]).await;
    std::fs::set_permissions(file("wide.key"), PermissionsExt::from_mode(0o644)).unwrap();
    hyphal(home.path(), &["keygen", "--out", "cut.key"]).await;
    let whole = std::fs::read(file("cut.key")).unwrap();
    std::fs::write(file("cut.key"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(file("broken.toml"), "network = 'hostile'\nlisten = [\n").unwrap();
    std::fs::write(file("unknown.toml"), "network = 'hostile'\nlisten_on = []\n").unwrap();
    let owned = scene.address().to_string();
    let peer = format!("{}@{owned}", scene.victim.id());
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--key", "wide.key", "--listen", "127.0.0.1:0"], 3, "chmod 600 wide.key"),
        (&["--key", "cut.key", "--listen", "127.0.0.1:0"], 3, "keygen --force --out cut.key"),
        (&["--key", "good.key", "--config", "broken.toml"], 3, "broken.toml:"),
        (&["--key", "good.key", "--config", "unknown.toml"], 3, "unknown.toml:2: listen_on"),
        (&["--key", "good.key", "--listen", &owned], 1, "is in use"),
    ];

    for (arguments, code, expected) in cases {
        let arguments = [&["node", "--network", NETWORK, "--peer", &peer], arguments].concat();

        let (ended_with, said) = hyphal(home.path(), &arguments).await;

        assert_eq!(ended_with, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        scene.assert_friend_is_unharmed().await;
    }
    assert_eq!(scene.victim.counters().accepted, 1, "none of them got as far as to dial");
}

/// Runs the built command in this home; gives its exit code and what it said on standard error.
#[cfg(unix)]
async fn hyphal(home: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_hyphal"))
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = crate::scene::soon(run).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}
