//! Ctrl-C, SIGTERM and SIGHUP as something to wait for. Once taken over they no longer end the process by themselves.

use std::io;

use crate::output::{Exit, Failure};

/// The wish of a person or a service manager that the command ends.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over. Call it before anything is started that has to end in good order.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::take_over()
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot wait for signals: {error}"), ""))
    }

    #[cfg(unix)]
    fn take_over() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn take_over() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal. Cancellation safe.
    #[cfg(unix)]
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The next Ctrl-C. Cancellation safe.
    #[cfg(not(unix))]
    pub(crate) async fn recv(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Has Ctrl-C no longer end the process by itself: for what has to leave the terminal as it was, and hears of it another way.
#[cfg(unix)]
pub(crate) fn outlive_ctrl_c() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map(drop)
}

#[cfg(not(unix))]
pub(crate) fn outlive_ctrl_c() -> io::Result<()> {
    Ok(())
}

/// The wish of a person or a service manager that a node reads its configuration again: SIGHUP, where there is such a thing.
pub(crate) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Takes the signal over.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::take_over()
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot wait for SIGHUP: {error}"), ""))
    }

    #[cfg(unix)]
    fn take_over() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    #[cfg(not(unix))]
    fn take_over() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal. Cancellation safe.
    pub(crate) async fn recv(&mut self) {
        #[cfg(unix)]
        let heard = self.hangup.recv().await;
        #[cfg(not(unix))]
        let heard: Option<()> = None;
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
