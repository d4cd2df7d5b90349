//! Behaviour of running nodes over real sockets on loopback. One behaviour per file; events are awaited, never slept for.

mod back_pressure;
mod bodies;
mod broadcast;
mod certificates;
mod compression;
mod crossing;
mod datagrams;
mod delegated;
mod exchange;
mod guaranteed;
mod guaranteed_large;
mod guaranteed_receipts;
mod guaranteed_unclaimed;
mod key_log;
mod large;
mod last_words;
mod limits;
mod metrics;
mod numbers;
mod page;
mod pair;
mod port;
mod profiles;
mod reconnect;
mod rejection;
mod relay;
mod reload;
mod sealed;
#[cfg(unix)]
mod serial;
mod session_loss;
mod shutdown;
mod streams;
mod subscriptions;
mod transports;
mod weather;
