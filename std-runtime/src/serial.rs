//! A serial port: a terminal device in raw mode, whose bytes are frames with datagrams in them.
//!
//! It knows no session. Noise costs the frames that it hits; an error of the device breaks the port, which is then opened anew.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyphal_core::session::MAX_DATAGRAM;
use hyphal_core::wire::cobs::{self, Decoder};
use hyphal_core::wire::reason::Reason;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{self, ControlModes, OptionalActions, QueueSelector};
use tokio::io::unix::AsyncFd;

/// An open port, and the bytes that are under way.
pub(crate) struct SerialPort {
    device: AsyncFd<OwnedFd>,
    decoder: Box<Decoder<LONGEST_FRAME>>,
    /// What was read and not decoded: these bytes, from the second field on.
    read: (Vec<u8>, usize),
    /// Frames that are to be written: these bytes, from the second field on.
    writing: (Vec<u8>, usize),
    /// A datagram that is to be given again.
    put_back: Option<BytesMut>,
    is_broken: bool,
}

impl SerialPort {
    /// Opens the device for this process alone, with 8 bits, no parity, one stop bit and no flow control.
    pub(crate) fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open(path, flags, Mode::empty())?;
        let mut settings = termios::tcgetattr(&device)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "it is no serial device"))?;
        termios::ioctl_tiocexcl(&device)?;
        settings.make_raw();
        settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        settings.control_modes &= !(ControlModes::CSTOPB | ControlModes::CRTSCTS);
        settings.set_speed(baud)?;
        termios::tcsetattr(&device, OptionalActions::Now, &settings)?;
        // What came before anybody listened is the middle of something.
        termios::tcflush(&device, QueueSelector::IOFlush)?;
        #[expect(
            deprecated,
            reason = "the descriptor is owned, so it stays open; the successor is unsafe for all others"
        )]
        let device = AsyncFd::new(device)?;
        Ok(Self {
            device,
            decoder: Box::default(),
            read: (Vec::new(), 0),
            writing: (Vec::new(), 0),
            put_back: None,
            is_broken: false,
        })
    }

    /// Whether the device has failed, as one that was unplugged.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The next datagram, or why a frame is none.
    pub(crate) fn poll_datagram(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Result<BytesMut, Reason>>> {
        if let Some(datagram) = self.put_back.take() {
            return Poll::Ready(Ok(Ok(datagram)));
        }
        loop {
            let (bytes, from) = &mut self.read;
            if *from == bytes.len() {
                ready!(self.poll_fill(cx))?;
                continue;
            }
            let fed = self.decoder.feed(&bytes[*from..]);
            *from += fed.used;
            if let Some(frame) = fed.frame {
                return Poll::Ready(Ok(frame.map(|datagram| BytesMut::from(&datagram[..]))));
            }
        }
    }

    /// Gives a datagram once more, to whoever asks next.
    pub(crate) fn put_back(&mut self, datagram: BytesMut) {
        self.put_back = Some(datagram);
    }

    /// Makes a datagram ready to be written.
    pub(crate) fn queue(&mut self, datagram: &[u8]) {
        let (bytes, _) = &mut self.writing;
        let from = bytes.len();
        bytes.resize(from + cobs::max_encoded_len(datagram.len()), 0);
        let len = cobs::encode(datagram, &mut bytes[from..]).unwrap_or(0);
        bytes.truncate(from + len);
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.writing.0.len() == self.writing.1
    }

    /// Writes what waits; ready with how much of it when something moved.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let mut guard =
                ready!(self.device.poll_write_ready(cx)).inspect_err(|_| self.is_broken = true)?;
            let (bytes, from) = &mut self.writing;
            match guard.try_io(|device| Ok(rustix::io::write(device, &bytes[*from..])?)) {
                Ok(Ok(len)) => {
                    *from += len;
                    if *from == bytes.len() {
                        (*bytes, *from) = (Vec::new(), 0);
                    }
                    return Poll::Ready(Ok(len));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => {
                    self.is_broken = true;
                    return Poll::Ready(Err(error));
                }
                Err(_would_block) => {}
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        loop {
            let mut guard = ready!(self.device.poll_read_ready(cx)).inspect_err(|_| self.is_broken = true)?;
            let failure = match guard.try_io(|device| Ok(rustix::io::read(device, &mut chunk)?)) {
                Ok(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
                Ok(Ok(len)) => {
                    self.read.0.clear();
                    self.read.0.extend_from_slice(&chunk[..len]);
                    self.read.1 = 0;
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(Err(error)) => error,
                Err(_would_block) => continue,
            };
            self.is_broken = true;
            return Poll::Ready(Err(failure));
        }
    }
}

const LONGEST_FRAME: usize = cobs::max_encoded_len(MAX_DATAGRAM);

/// Bytes of one read: what a fast port brings within a millisecond.
const CHUNK: usize = 512;
