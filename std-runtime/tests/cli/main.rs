//! The built command as people and scripts meet it: arguments in; output, messages and exit codes out.

mod bench;
mod ca;
mod ca_clock;
mod ca_doctor;
mod ca_restored;
mod configuration;
mod demo;
mod doctor;
mod home;
mod key;
mod keys;
mod listen;
mod metrics;
mod node;
mod ping;
mod process;
mod reload;
mod send;
mod store;
#[cfg(target_os = "linux")]
mod terminal;
mod usage;
