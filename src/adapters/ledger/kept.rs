//! The form in which answers are kept: packed, capped, and read back with the same bound.

use super::entry::{Answer, Trouble};
use super::seal::{Bound, Name};
use bytes::Bytes;
use std::cell::RefCell;
use zstd::bulk::Compressor;

/// Level of compression: answers are small, and a client waits.
const LEVEL: i32 = 1;

/// Bytes of fields that may come on top of the cap of the body: more than a listener takes.
const FIELDS_MAX: usize = 256 << 10;

thread_local! {
    /// Making one takes longer than using it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// An answer as it is written.
pub struct Packed {
    /// Bytes before compression.
    pub raw_bytes: usize,
    /// Compressed.
    pub octets: Vec<u8>,
}

/// Packs an answer; `None`: it is larger than what is kept.
pub fn pack(answer: &Answer, body_bytes_max: usize) -> Option<Packed> {
    let fields: usize = answer.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if answer.body.len() > body_bytes_max || fields > FIELDS_MAX {
        return None;
    }
    let mut raw = Vec::with_capacity(answer.body.len() + fields + 16 + 8 * answer.fields.len());
    put(&mut raw, answer.fields.len());
    for (name, value) in &answer.fields {
        put(&mut raw, name.len());
        raw.extend_from_slice(name.as_bytes());
        put(&mut raw, value.len());
        raw.extend_from_slice(value);
    }
    raw.extend_from_slice(&answer.body);
    let octets = COMPRESSOR.with_borrow_mut(|compressor| match compressor {
        Some(compressor) => compressor.compress(&raw).ok(),
        None => compressor.insert(Compressor::new(LEVEL).ok()?).compress(&raw).ok(),
    })?;
    Some(Packed { raw_bytes: raw.len(), octets })
}

/// What the octets of an answer are bound to, in the entry of this name in the file.
pub fn bound(name: &Name, status: u16, raw_bytes: i64) -> Bound {
    Bound::to("answers.octets", name).and(&status.to_be_bytes()).and(&raw_bytes.to_be_bytes())
}

/// Unpacks one.
///
/// # Errors
/// It is not what [`pack`] made.
pub fn unpack(status: u16, raw_bytes: usize, octets: &[u8]) -> Result<Answer, Trouble> {
    let damaged = || Trouble::Corrupt("an answer can't be unpacked".to_owned());
    // Before room is made for it: a damaged number could ask for all there is.
    let said = zstd::zstd_safe::get_frame_content_size(octets).ok().flatten();
    if said != u64::try_from(raw_bytes).ok() {
        return Err(damaged());
    }
    let raw = zstd::bulk::decompress(octets, raw_bytes).map_err(|_| damaged())?;
    if raw.len() != raw_bytes {
        return Err(damaged());
    }
    let mut raw = Bytes::from(raw);
    let mut read = || {
        let count = number(&mut raw)?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let length = number(&mut raw)?;
            let name = take(&mut raw, length)?;
            let name = std::str::from_utf8(&name).ok()?.into();
            let length = number(&mut raw)?;
            fields.push((name, take(&mut raw, length)?));
        }
        Some(Answer { status, fields, body: raw.clone() })
    };
    read().ok_or_else(damaged)
}

fn put(raw: &mut Vec<u8>, number: usize) {
    // Smaller than the caps, and so than 32 bits.
    raw.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

fn number(raw: &mut Bytes) -> Option<usize> {
    let octets = take(raw, 4)?;
    let octets: [u8; 4] = octets.as_ref().try_into().ok()?;
    usize::try_from(u32::from_be_bytes(octets)).ok()
}

fn take(raw: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= raw.len()).then(|| raw.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn the_cap_is_exact() {
        let answer = |bytes: usize| Answer {
            status: 201,
            fields: vec![("content-type".into(), Bytes::from_static(b"text/plain"))],
            body: vec![b'x'; bytes].into(),
        };
        assert!(pack(&answer(1000), 1000).is_some_and(|packed| packed.octets.len() < 100));
        assert!(pack(&answer(1001), 1000).is_none());
        let mut fields = answer(0);
        fields.fields.push(("x".into(), vec![b'x'; FIELDS_MAX].into()));
        assert!(pack(&fields, 1000).is_none());
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            status in 100u16..600,
            fields in proptest::collection::vec(("[a-z-]{1,9}", any::<Vec<u8>>()), 0..5),
            body in any::<Vec<u8>>(),
        ) {
            let fields = fields.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
            let answer = Answer { status, fields, body: body.into() };
            let packed = pack(&answer, 1 << 20).expect("below the cap");
            let unpacked = unpack(status, packed.raw_bytes, &packed.octets);
            prop_assert_eq!(&unpacked, &Ok(answer));
            for other in [0, packed.raw_bytes - 1, packed.raw_bytes + 1, usize::MAX] {
                let other = unpack(status, other, &packed.octets);
                prop_assert_eq!(other.map_err(|trouble| trouble.word()), Err("corrupt"));
            }
        }

        #[test]
        fn garbage_is_an_error(octets in any::<Vec<u8>>(), bytes in 0usize..1000) {
            assert!(unpack(200, bytes, &octets).is_err());
            let packed = zstd::bulk::compress(&octets, 1).expect("packed");
            let _ = unpack(200, octets.len(), &packed);
        }
    }
}
