//! Two nodes in one process: the first listens, the second greets it and learns that the greeting was taken.
#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use getrandom::{SysRng, rand_core::UnwrapErr};
use hyphal::{Identity, Node, SendOptions, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = || Identity::generate(&mut UnwrapErr(SysRng));
    let server = Node::builder().identity(identity()).network("hello").trust(Trust::Open);
    let server = server.listen("127.0.0.1:0").start().await?;
    let client = Node::builder().identity(identity()).network("hello");
    let client = client.peer(server.id(), server.local_addrs()[0].to_string()).start().await?;

    let greeting = client.send_direct_tracked(server.id(), 0, "Hello, Hyphal!", SendOptions::default());
    let (_, receipt) = greeting.await?;
    let message = server.recv().await.ok_or("the server was shut down")?;
    println!("{} says {:?}", message.source, message.payload);

    tokio::spawn(async move { server.recv().await });
    println!("the greeting was {}", receipt.await);
    Ok(())
}
