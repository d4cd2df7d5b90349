//! LZ4 in both directions, with nothing but the stack.

use hyphal_core::compress;

use crate::require;

/// What a sensor may have gathered while its link was down.
const READINGS: [u8; 64] = *b"celsius=21.5 celsius=21.5 celsius=21.6 celsius=21.5 celsius=21.4";

pub(crate) fn a_compressed_payload_comes_back() -> Result<(), &'static str> {
    let mut packed = [0; compress::room_for(READINGS.len())];
    let len = compress::pack(&READINGS, &mut packed).ok_or("repetitive readings did not get shorter")?;
    let mut original = [0; READINGS.len()];

    compress::unpack(&packed[..len], &mut original).map_err(|_| "the readings did not decompress")?;

    require(original == READINGS, "the readings changed")?;
    require(
        compress::unpack(&packed[..len - 1], &mut original).is_err(),
        "half a block was taken for a whole one",
    )
}
