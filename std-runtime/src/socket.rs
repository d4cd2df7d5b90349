//! Sockets set up as the options say. It opens and configures; it never reads or writes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::options::TcpOptions;

/// A listener on `address`.
pub(crate) fn listen(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // An IPv6 listener serves IPv6 only, so that one on the IPv4 address of the same port can stand beside it.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(options.reuse_address)?;
    #[cfg(unix)]
    socket.set_reuse_port(options.reuse_port)?;
    set_buffers(&SockRef::from(&socket), options)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// A connection to `address`, or an error after `timeout`.
pub(crate) async fn connect(
    address: SocketAddr,
    options: &TcpOptions,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The window is negotiated with the first packet, so the buffers come before the connection.
    set_buffers(&SockRef::from(&socket), options)?;
    let stream = tokio::time::timeout(timeout, socket.connect(address)).await??;
    prepare(&stream, options)?;
    Ok(stream)
}

/// Sets up a connected stream.
pub(crate) fn prepare(stream: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    stream.set_nodelay(options.nodelay)?;
    if let Some(keepalive) = options.keepalive {
        let keepalive = TcpKeepalive::new().with_time(keepalive.time).with_interval(keepalive.interval);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    // Elsewhere the system has no such option, or the socket crate does not know it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(bytes) = options.unsent {
        SockRef::from(stream).set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX))?;
    }
    Ok(())
}

fn set_buffers(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(())
}
