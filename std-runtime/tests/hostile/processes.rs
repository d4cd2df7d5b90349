//! A second process or a mistake beside a running node.

use hyphal::{Node, StartError};

use crate::scene::{ECHO, NETWORK, Scene, identity};

#[tokio::test]
async fn a_port_in_use_is_refused_and_its_owner_goes_on() {
    let mut scene = Scene::new().await;
    let address = scene.address();

    let started = Node::builder().identity(identity(ECHO)).network(NETWORK).listen(address).start().await;

    let error = started.unwrap_err();
    assert!(matches!(&error, StartError::Listen { address: refused, .. } if *refused == address));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: the port is in use; stop the other process or choose another port"
        )
    );
    scene.assert_friend_is_unharmed().await;
}
