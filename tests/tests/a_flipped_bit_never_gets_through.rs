//! Every byte of a conversation is flipped once, in either direction: what comes out is what was sent, or nothing.

use hyphal_core::time::Duration;
use hyphal_lab::{drive::Drive, link::header, network::Side, pair::Pair, seed::Seed};

const SENT: [&[u8]; 3] = [b"first", b"", b"the third of them"];

#[test]
fn in_no_byte_of_the_initiators_words() {
    flip_every_byte(Side::Opener);
}

#[test]
fn in_no_byte_of_the_responders_words() {
    flip_every_byte(Side::Target);
}

fn flip_every_byte(side: Side) {
    let untouched = conversation(side, None);
    let len = untouched.stream_len;
    assert_eq!(untouched.delivered, SENT);
    assert!(len > 200, "{len} bytes were said");

    for offset in 0..len {
        for bit in 0..8 {
            let outcome = conversation(side, Some((offset, 1 << bit)));

            let delivered = outcome.delivered;
            assert!(
                SENT.starts_with(&delivered.iter().map(Vec::as_slice).collect::<Vec<_>>()),
                "bit {bit} of byte {offset}: {delivered:?}"
            );
            assert!(outcome.is_closed || delivered == SENT, "bit {bit} of byte {offset}: silently lost");
            assert!(
                outcome.confirmed <= delivered.len() as u64,
                "bit {bit} of byte {offset}: wrongly confirmed"
            );
        }
    }
}

struct Outcome {
    delivered: Vec<Vec<u8>>,
    confirmed: u64,
    is_closed: bool,
    stream_len: usize,
}

/// A handshake, then three messages in three records from `side`; one bit of what `side` says is flipped on the way.
fn conversation(side: Side, flip: Option<(usize, u8)>) -> Outcome {
    let mut pair = Pair::new(&Seed::of(1));
    if let Some((offset, mask)) = flip {
        pair.network.flip_in_stream(pair.stream, side, offset, mask);
    }
    pair.drive_for(Duration::from_millis(50));
    for (sequence, payload) in (0..).zip(SENT) {
        pair.send(side, header(sequence), payload).expect("there is room");
        pair.drive_for(Duration::from_millis(50));
    }
    let stream_len = pair.network.stream_written(pair.stream, side).len();
    // Long enough for the other end to notice that a length field promises what never comes.
    pair.drive_for(Duration::from_secs(12));
    Outcome {
        delivered: pair
            .end(side.other())
            .delivered
            .iter()
            .map(|delivered| delivered.payload.clone())
            .collect(),
        confirmed: pair.end(side).outbox.counters().confirmed,
        is_closed: pair.end(side.other()).link.closed.is_some(),
        stream_len,
    }
}
