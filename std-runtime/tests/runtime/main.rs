//! Behaviour of running nodes over real sockets on loopback. One behaviour per file; events are awaited, never slept for.

mod back_pressure;
mod broadcast;
mod crossing;
mod exchange;
mod key_log;
mod limits;
mod pair;
mod rejection;
mod session_loss;
mod shutdown;
mod subscriptions;
mod transports;
