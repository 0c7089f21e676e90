//! What of a claim is nobody's business who finds the file, in the one value that a ledger with a
//! key seals: key, paths and external ids, and the fingerprint, by which a request can be guessed.

use super::entry::{NewClaim, Trouble};
use super::seal::{Bound, Name, Seal, put};
use crate::model::digest::Sha256;
use crate::stages::idempotency::fingerprint::Fingerprint;
use crate::stages::idempotency::key::{Key, Record};

/// What is packed, in its order.
pub struct Private {
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The key.
    pub key: Key,
    /// The path.
    pub path: Box<str>,
    /// By which the vendor knows the write.
    pub vendor_key: Option<Box<str>>,
}

/// Packs what is private of a claim, for the entry of this name in the file.
///
/// # Errors
/// Why it can't be sealed.
pub fn pack(seal: &Seal, name: &Name, of: &NewClaim) -> Result<Vec<u8>, Trouble> {
    let record = of.key.record();
    let texts = [
        Some(of.key.value()),
        Some(&*of.path),
        of.vendor_key.as_deref(),
        record.map(|record| &*record.method),
        record.map(|record| &*record.path),
    ];
    let mut value = Vec::with_capacity(512);
    value.extend_from_slice(&of.fingerprint.0.0);
    for text in texts {
        value.push(u8::from(text.is_some()));
        if let Some(text) = text {
            put(&mut value, text.as_bytes());
        }
    }
    let beside = Beside {
        client: &of.client,
        vendor: &of.vendor,
        correlation: &of.correlation,
        route: &of.route,
        method: &of.method,
        credential: of.credential.as_deref(),
    };
    seal.close(&beside.bound(name), value)
}

/// Unpacks it.
///
/// # Errors
/// It is not what [`pack`] made.
pub fn unpack(
    seal: &Seal,
    name: &Name,
    beside: &Beside<'_>,
    octets: Vec<u8>,
) -> Result<Private, Trouble> {
    let value = seal.open(&beside.bound(name), octets)?;
    read(&value).ok_or_else(|| Trouble::Corrupt("a claim can't be unpacked".to_owned()))
}

/// What stands beside it in the clear from the beginning to the end of an entry.
pub struct Beside<'a> {
    /// Whose it is.
    pub client: &'a str,
    /// At which vendor.
    pub vendor: &'a str,
    /// The request's correlation id.
    pub correlation: &'a str,
    /// The route.
    pub route: &'a str,
    /// The method.
    pub method: &'a str,
    /// Name of the vendor's credential.
    pub credential: Option<&'a str>,
}

impl Beside<'_> {
    fn bound(&self, name: &Name) -> Bound {
        let Beside { client, vendor, correlation, route, method, credential } = self;
        let named = [client, vendor, correlation, route, method].into_iter().copied();
        named
            .chain(*credential)
            .fold(Bound::to("claims.private", name), |bound, text| bound.and(text.as_bytes()))
    }
}

fn read(value: &[u8]) -> Option<Private> {
    let (fingerprint, mut rest) = value.split_first_chunk::<32>()?;
    let mut next = || -> Option<Option<Box<str>>> {
        let (there, after) = rest.split_first()?;
        rest = after;
        match there {
            0 => Some(None),
            1 => {
                let (length, after) = rest.split_first_chunk::<8>()?;
                let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
                let (text, after) = after.split_at_checked(length)?;
                rest = after;
                Some(Some(std::str::from_utf8(text).ok()?.into()))
            }
            _ => None,
        }
    };
    let (value, path, vendor_key) = (next()??, next()??, next()?);
    let record = match (next()?, next()?) {
        (Some(method), Some(path)) => Some(Record { method, path }),
        (None, None) => None,
        _ => return None,
    };
    rest.is_empty().then(|| Private {
        fingerprint: Fingerprint(Sha256(*fingerprint)),
        key: Key::kept(value, record),
        path,
        vendor_key,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::new_claim;
    use super::*;
    use proptest::prelude::{any, proptest};

    fn beside(of: &NewClaim) -> Beside<'_> {
        Beside {
            client: &of.client,
            vendor: &of.vendor,
            correlation: &of.correlation,
            route: &of.route,
            method: &of.method,
            credential: of.credential.as_deref(),
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let record = Record { method: "POST".into(), path: "/orders/eid:é".into() };
        for (record, vendor_key) in [(None, None), (Some(record), Some("INV 7".into()))] {
            let key = Key::kept("käse \u{1f9c0}".into(), record);
            let of = NewClaim { key, vendor_key, ..new_claim("a") };
            let plain = Seal::default();
            let octets = pack(&plain, &[9; 16], &of).expect("packed");
            let found = unpack(&plain, &[9; 16], &beside(&of), octets.clone()).expect("unpacked");
            assert_eq!((found.fingerprint, &found.key), (of.fingerprint, &of.key));
            assert_eq!((&found.path, &found.vendor_key), (&of.path, &of.vendor_key));
            for end in 0..octets.len() {
                assert!(read(&octets[..end]).is_none(), "cut at {end}");
            }
            assert!(read(&[octets.as_slice(), &[0]].concat()).is_none(), "more than it should be");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(octets in any::<Vec<u8>>()) {
            let _ = read(&octets);
        }
    }
}
