//! A running node against peers that break the rules, over real sockets on loopback. One module per behaviour.
//!
//! Every test claims the same four things of the victim: it counts and logs the reason, it tells the other end where the
//! protocol allows that, it spends no more memory and time than it should, and a well-behaved peer notices nothing.

mod answers;
mod clones;
mod compression;
mod crowds;
mod envelopes;
mod forgery;
mod frames;
mod hand;
mod lanes;
mod messages;
mod newer;
mod packets;
mod parts;
mod processes;
mod raw;
mod replay;
mod revocations;
mod rules;
mod scene;
mod slowness;
mod strangers;
