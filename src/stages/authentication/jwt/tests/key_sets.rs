//! Published sets of keys: which keys are fit, and which sets are refused as a whole.

use super::{Idp, encode, with};
use crate::stages::authentication::keys::{self, KeySet};
use serde_json::json;

#[test]
fn unfit_keys_are_skipped_and_unfit_sets_refused() {
    let idp = Idp::new();
    let good = idp.jwks()["keys"][0].clone();
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[bytes - 1] = 0xfd;
        encode(modulus)
    };
    let rsa = |n: String, e: &[u8]| json!({ "kty": "RSA", "kid": "r", "n": n, "e": encode(e) });
    for (key, fit) in [
        (with(good.clone(), json!({ "kid": "x" })), true),
        (rsa(modulus(256), &[1, 0, 1]), true),
        (rsa(modulus(255), &[1, 0, 1]), false),
        (rsa(format!("AAAA{}", modulus(252)), &[1, 0, 1]), false),
        (rsa(modulus(1025), &[1, 0, 1]), false),
        (rsa(modulus(256), &[1]), false),
        (rsa(modulus(256), &[2]), false),
        (rsa(modulus(256), &[1, 0, 1, 0, 0, 0, 0, 0, 1]), false),
        (with(rsa(modulus(256), &[1, 0, 1]), json!({ "alg": "RS384" })), false),
        (with(rsa(modulus(256), &[1, 0, 1]), json!({ "d": "AQAB" })), false),
        (with(good.clone(), json!({ "kid": "x", "use": "enc" })), false),
        (with(good.clone(), json!({ "kid": "x", "use": "sig" })), true),
        (with(good.clone(), json!({ "kid": "x", "key_ops": ["sign"] })), false),
        (with(good.clone(), json!({ "kid": "x", "key_ops": ["verify"] })), true),
        (with(good.clone(), json!({ "kid": "x", "alg": "ES384" })), false),
        (with(good.clone(), json!({ "kid": "x", "alg": 7 })), false),
        (with(good.clone(), json!({ "kid": "x", "crv": "P-384" })), false),
        (with(good.clone(), json!({ "kid": "x", "crv": "P-521" })), false),
        (with(good.clone(), json!({ "kid": "x", "x": encode([1; 32]) })), false),
        (
            with(good.clone(), json!({ "kid": "x", "y": good["y"].as_str().expect("y")[..40] })),
            false,
        ),
        (with(good.clone(), json!({ "kid": 7 })), false),
        (with(good.clone(), json!({ "kid": "x", "kty": "XYZ" })), false),
        (json!({ "kty": "OKP", "crv": "X25519", "x": encode([9; 32]) }), false),
        (json!("text"), false),
        // The same `kid` as the other one: neither is used, and the set is empty then.
        (good.clone(), false),
    ] {
        let set = json!({ "keys": [key.clone(), idp.jwks()["keys"][1]] }).to_string();
        let alone = KeySet::parse(set.as_bytes(), &keys::DEFAULT);
        let (_, skipped) = alone.expect("one is always fit");
        let doubled = json!({ "keys": [key.clone(), good, idp.jwks()["keys"][1]] }).to_string();
        let (keys, _) = KeySet::parse(doubled.as_bytes(), &keys::DEFAULT).expect("one is fit");
        match key == good {
            true => assert_eq!(keys.len(), 1),
            false => assert_eq!(skipped.is_empty(), fit, "{key}: {skipped:?}"),
        }
    }
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0" });
    for set in [
        json!({}).to_string(),
        json!({ "keys": [] }).to_string(),
        json!({ "keys": {} }).to_string(),
        json!({ "keys": [good.clone(), secret] }).to_string(),
        json!({ "keys": [with(good.clone(), json!({ "use": "enc" }))] }).to_string(),
        json!({ "keys": vec![good.clone(); 101] }).to_string(),
        format!("{{\"keys\":[{good}],\"keys\":[]}}"),
        "<html>".to_owned(),
        String::new(),
    ] {
        assert!(KeySet::parse(set.as_bytes(), &keys::DEFAULT).is_err(), "{set:.60}");
    }
}
