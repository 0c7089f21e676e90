//! Tokens that are taken and tokens that are not: RFC 8725, RFC 9068, and the JOSE RFCs' own
//! examples.

mod examples;
mod habits;
mod key_sets;

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use serde_json::json;

const NOW: i64 = 1_800_000_000;

/// An issuer with an EC and an Ed25519 key.
struct Idp {
    elliptic: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Idp {
    fn new() -> Idp {
        Idp {
            elliptic: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("made"),
            edwards: Ed25519KeyPair::generate().expect("made"),
        }
    }

    fn jwks(&self) -> Value {
        let point = self.elliptic.public_key().as_ref();
        json!({ "keys": [
            {
                "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256",
                "x": encode(&point[1..33]), "y": encode(&point[33..]),
            },
            {
                "kty": "OKP", "crv": "Ed25519", "kid": "ed",
                "x": encode(self.edwards.public_key().as_ref()),
            },
        ]})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.jwks().to_string().as_bytes(), &keys::DEFAULT).expect("fit").0
    }

    fn sign(&self, signed: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        self.elliptic.sign(&random, signed.as_bytes()).expect("signed").as_ref().to_vec()
    }

    /// A token of these texts, signed with the EC key.
    fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.sign(&signed)))
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }
}

fn policy() -> Policy {
    Policy {
        name: "corporate".into(),
        issuer: Some("https://idp.test".to_owned()),
        audiences: vec!["gw".to_owned(), "gw2".to_owned()],
        algorithms: keys::DEFAULT.to_vec(),
        accept: Accept::Rfc9068,
        leeway: 30,
        client_claims: vec!["client_id".to_owned(), "azp".to_owned()],
        scope_claims: vec!["scope".to_owned(), "scp".to_owned()],
    }
}

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "ec", "typ": "at+jwt" })
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.test", "aud": "gw", "exp": NOW + 300, "iat": NOW - 10, "nbf": NOW - 10,
        "sub": "client-7", "client_id": "client-7", "jti": "1", "scope": "a:read a:write",
    })
}

/// With some members replaced, or taken out where the other is null.
fn with(base: Value, other: Value) -> Value {
    let (Value::Object(mut base), Value::Object(other)) = (base, other) else { panic!("objects") };
    for (name, value) in other {
        match value {
            Value::Null => drop(base.remove(&name)),
            value => drop(base.insert(name, value)),
        }
    }
    Value::Object(base)
}

fn verified(token: &str, policy: &Policy, keys: &KeySet) -> Result<Facts, Why> {
    let facts = take_apart(token)?.verify(policy, keys, NOW)?;
    facts.check(None, false, NOW)?;
    Ok(facts)
}

#[test]
fn a_good_token_says_who_and_what_for() {
    let idp = Idp::new();
    let facts = verified(&idp.token(&header(), &claims()), &policy(), &idp.keys()).expect("good");
    assert_eq!((&*facts.issuer, &*facts.client_id), ("corporate", "client-7"));
    assert_eq!(facts.scopes.iter().map(|s| &**s).collect::<Vec<_>>(), ["a:read", "a:write"]);
    assert_eq!((facts.expires, facts.bound_to), (NOW + 330, None));
    let mut edwards = json!({ "alg": "EdDSA", "kid": "ed", "typ": "application/AT+JWT" });
    let signed = format!("{}.{}", encode(edwards.to_string()), encode(claims().to_string()));
    let token = format!("{signed}.{}", encode(idp.edwards.sign(signed.as_bytes())));
    assert!(verified(&token, &policy(), &idp.keys()).is_ok());
    // Without a name, where one key only fits.
    edwards = with(edwards, json!({ "kid": null }));
    let signed = format!("{}.{}", encode(edwards.to_string()), encode(claims().to_string()));
    let token = format!("{signed}.{}", encode(idp.edwards.sign(signed.as_bytes())));
    assert!(verified(&token, &policy(), &idp.keys()).is_ok());
}

#[test]
fn headers_are_checked() {
    let idp = Idp::new();
    for (change, why) in [
        (json!({ "alg": "none" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "None" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "nOnE" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": null }), Why::AlgorithmNotAllowed),
        (json!({ "alg": ["ES256"] }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "HS256" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "ES512" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "es256" }), Why::AlgorithmNotAllowed),
        (json!({ "alg": "ES384" }), Why::KeyOfOtherAlgorithm),
        (json!({ "alg": "RS256" }), Why::KeyOfOtherAlgorithm),
        (json!({ "alg": "EdDSA" }), Why::KeyOfOtherAlgorithm),
        (json!({ "alg": "RS256", "kid": null }), Why::KeyUnknown),
        (json!({ "kid": "EC" }), Why::KeyUnknown),
        (json!({ "kid": "../../dev/null" }), Why::KeyUnknown),
        (json!({ "kid": "' OR 1=1 --" }), Why::KeyUnknown),
        (json!({ "kid": "\u{1b}[31m" }), Why::KeyUnknown),
        (json!({ "kid": "k".repeat(5000) }), Why::KeyUnknown),
        (json!({ "kid": 7 }), Why::KeyUnknown),
        (json!({ "kid": "ed" }), Why::KeyOfOtherAlgorithm),
        (json!({ "typ": null }), Why::TypeWrong),
        (json!({ "typ": "" }), Why::TypeWrong),
        (json!({ "typ": "JWT" }), Why::TypeWrong),
        (json!({ "typ": "dpop+jwt" }), Why::TypeWrong),
        (json!({ "typ": "logout+jwt" }), Why::TypeWrong),
        (json!({ "typ": "secevent+jwt" }), Why::TypeWrong),
        (json!({ "typ": ["at+jwt"] }), Why::TypeWrong),
        (json!({ "crit": ["exp"] }), Why::Critical),
        (json!({ "crit": [] }), Why::Critical),
        (json!({ "crit": "b64", "b64": false }), Why::Critical),
        (json!({ "b64": false }), Why::Critical),
        (json!({ "cty": "JWT" }), Why::Nested),
        (json!({ "cty": "application/jwt" }), Why::Nested),
        (json!({ "enc": "A256GCM" }), Why::Encrypted),
        (json!({ "zip": "DEF" }), Why::Encrypted),
        (json!({ "jku": "https://evil.test/keys" }), Why::KeyEmbedded),
        (json!({ "x5u": "https://evil.test/cert" }), Why::KeyEmbedded),
        (json!({ "x5c": ["MIIB"] }), Why::KeyEmbedded),
    ] {
        let token = idp.token(&with(header(), change.clone()), &claims());
        assert_eq!(verified(&token, &policy(), &idp.keys()), Err(why), "{change}");
    }
    // The attacker's own key, in the header of a token that it signed.
    let evil = Idp::new();
    let jwk = evil.jwks()["keys"][0].clone();
    let token = evil.token(&with(header(), json!({ "jwk": jwk })), &claims());
    assert_eq!(verified(&token, &policy(), &idp.keys()), Err(Why::KeyEmbedded));
    let plain = Policy { accept: Accept::Plain, ..policy() };
    assert_eq!(verified(&token, &plain, &idp.keys()), Err(Why::SignatureInvalid));
}

#[test]
fn claims_are_checked() {
    let idp = Idp::new();
    let bad_exp = Why::ClaimMissing;
    for (change, why) in [
        (json!({ "iss": null }), Why::IssuerUnknown),
        (json!({ "iss": "https://idp.test/" }), Why::IssuerUnknown),
        (json!({ "iss": ["https://idp.test"] }), Why::IssuerUnknown),
        (json!({ "aud": null }), Why::AudienceWrong),
        (json!({ "aud": "gw3" }), Why::AudienceWrong),
        (json!({ "aud": "g" }), Why::AudienceWrong),
        (json!({ "aud": "GW" }), Why::AudienceWrong),
        (json!({ "aud": [] }), Why::AudienceWrong),
        (json!({ "aud": ["other", 7, "gw"] }), Why::AudienceWrong),
        (json!({ "aud": { "gw": 1 } }), Why::AudienceWrong),
        (json!({ "exp": null }), bad_exp),
        (json!({ "exp": (NOW + 300).to_string() }), bad_exp),
        (json!({ "exp": -1 }), bad_exp),
        (json!({ "exp": true }), bad_exp),
        (json!({ "exp": NOW - 30 }), Why::Expired),
        (json!({ "exp": 1_799_999_969.5 }), Why::Expired),
        (json!({ "exp": 0 }), Why::Expired),
        (json!({ "nbf": NOW + 31 }), Why::NotYetValid),
        (json!({ "nbf": "soon" }), bad_exp),
        (json!({ "iat": NOW + 31 }), Why::NotYetValid),
        (json!({ "iat": null }), Why::ClaimMissing),
        (json!({ "sub": null }), Why::ClaimMissing),
        (json!({ "sub": 7 }), Why::ClaimMissing),
        (json!({ "jti": null }), Why::ClaimMissing),
        (json!({ "client_id": null }), Why::ClaimMissing),
        (json!({ "client_id": "" }), Why::ClaimMissing),
        (json!({ "client_id": ["client-7"] }), Why::ClaimMissing),
        (json!({ "scope": 7 }), Why::ScopeMalformed),
        (json!({ "scope": ["a b"] }), Why::ScopeMalformed),
        (json!({ "scope": "a\"b" }), Why::ScopeMalformed),
        (json!({ "nonce": "n" }), Why::NotAnAccessToken),
        (json!({ "at_hash": "h" }), Why::NotAnAccessToken),
        (json!({ "events": {} }), Why::NotAnAccessToken),
        (json!({ "htm": "GET", "htu": "https://gw" }), Why::NotAnAccessToken),
        (json!({ "cnf": { "jkt": "x" } }), Why::BindingUnknown),
        (json!({ "cnf": {} }), Why::BindingUnknown),
        (json!({ "cnf": "x" }), Why::BindingUnknown),
        (json!({ "cnf": { "x5t#S256": "short" } }), Why::BindingUnknown),
        (json!({ "cnf": { "x5t#S256": encode([7; 32]) } }), Why::BindingBroken),
    ] {
        let token = idp.token(&header(), &with(claims(), change.clone()));
        assert_eq!(verified(&token, &policy(), &idp.keys()), Err(why), "{change}");
    }
    for change in [
        json!({ "aud": ["other", "gw2"] }),
        json!({ "exp": NOW - 28 }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": NOW + 30 }),
        json!({ "scope": null, "scp": ["a", "b"] }),
        json!({ "scope": "" }),
        json!({ "scope": null }),
    ] {
        let token = idp.token(&header(), &with(claims(), change.clone()));
        assert!(verified(&token, &policy(), &idp.keys()).is_ok(), "{change}");
    }
}

#[test]
fn a_bound_token_needs_its_certificate() {
    let idp = Idp::new();
    let digest = crate::model::digest::Sha256([7; 32]);
    let token = idp.token(
        &header(),
        &with(claims(), json!({ "cnf": { "x5t#S256": encode(digest.0) }, "exp": NOW - 60 })),
    );
    let facts = take_apart(&token).expect("whole").verify(&policy(), &idp.keys(), NOW);
    let facts = facts.expect("genuine");
    let other = crate::model::digest::Sha256([8; 32]);
    assert_eq!(facts.check(None, false, NOW - 60), Err(Why::BindingBroken));
    assert_eq!(facts.check(Some(&other), false, NOW - 60), Err(Why::BindingBroken));
    assert_eq!(facts.check(Some(&digest), true, NOW - 60), Ok(()));
    // Whose token it is is nobody's business who can't use it: not even that it has expired.
    assert_eq!(facts.check(None, false, NOW), Err(Why::BindingBroken));
    assert_eq!(facts.check(Some(&digest), true, NOW), Err(Why::Expired));
    let unbound = Facts { bound_to: None, ..facts };
    assert_eq!(unbound.check(Some(&digest), true, NOW - 60), Err(Why::Unbound));
}

#[test]
fn forms_that_two_readers_take_differently_are_refused() {
    let idp = Idp::new();
    let good = idp.token(&header(), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let text = |json: &str| encode(json);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(50), "]".repeat(50));
    for (token, why) in [
        (String::new(), Why::Malformed),
        (".".to_owned(), Why::Malformed),
        ("..".to_owned(), Why::NotJson),
        (format!("{head}.{body}"), Why::Malformed),
        (format!("{head}.{body}."), Why::SignatureInvalid),
        (format!("{head}.{body}.{signature}."), Why::Malformed),
        (format!("{head}.{body}.{signature}.{signature}.{signature}"), Why::Encrypted),
        (format!("{head}.{body}.{signature}="), Why::Malformed),
        (format!("{head}.{body}.{signature}\n"), Why::Malformed),
        (format!("{head}.{body} .{signature}"), Why::Malformed),
        (format!("{head}=.{body}.{signature}"), Why::Malformed),
        (format!("{}.{body}.{signature}", text("[]")), Why::NotJson),
        (format!("{}.{body}.{signature}", text("null")), Why::NotJson),
        (
            format!("{}.{body}.{signature}", text("{\"alg\":\"none\",\"alg\":\"ES256\"}")),
            Why::MemberDoubled,
        ),
        (
            format!("{head}.{}.{signature}", text("{\"aud\":\"x\",\"aud\":\"gw\"}")),
            Why::MemberDoubled,
        ),
        (
            format!("{head}.{}.{signature}", text("{\"\\u0061ud\":\"x\",\"aud\":\"gw\"}")),
            Why::MemberDoubled,
        ),
        (format!("{head}.{}.{signature}", text(&deep)), Why::NestedTooDeep),
        (
            format!("{head}.{}.{signature}", encode([b'{', b'"', 0xc3, 0x28, b'"', b'}'])),
            Why::NotJson,
        ),
        (format!("{head}.{}.{signature}", text("{\"exp\":1e400}")), Why::NotJson),
        (format!("{head}.{}.{signature}", "A".repeat(8 << 10)), Why::TooLong),
    ] {
        assert_eq!(verified(&token, &policy(), &idp.keys()), Err(why), "{token:.60}");
    }
    // One signature has one spelling: the last digit holds two bits that mean nothing.
    let mut other = good.clone();
    let last = other.pop().expect("a digit");
    let next = char::from(last as u8 + 1);
    other.push(if next.is_ascii_alphanumeric() { next } else { 'B' });
    let why = verified(&other, &policy(), &idp.keys()).expect_err("another spelling");
    assert!(matches!(why, Why::Malformed | Why::SignatureInvalid), "{why:?}");
}

#[test]
fn signatures_of_other_forms_do_not_hold() {
    let idp = Idp::new();
    let signed = format!("{}.{}", encode(header().to_string()), encode(claims().to_string()));
    let raw = idp.sign(&signed);
    let integer = |bytes: &[u8]| {
        let bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        let padded = if bytes[0] >= 0x80 { [&[0], bytes.as_slice()].concat() } else { bytes };
        [&[2, padded.len() as u8], padded.as_slice()].concat()
    };
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [&[0x30, both.len() as u8], both.as_slice()].concat();
    let longer = [&[0; 32], raw.as_slice()].concat();
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&order[2 * i..2 * i + 2], 16).expect("hex")).collect();
    for (name, signature) in [
        ("DER", der),
        ("zeros", vec![0; 64]),
        ("order", [order.as_slice(), order.as_slice()].concat()),
        ("short", raw[..63].to_vec()),
        ("long", longer),
        ("empty", Vec::new()),
        ("other", [&raw[32..], &raw[..32]].concat()),
    ] {
        let token = format!("{signed}.{}", encode(signature));
        assert_eq!(verified(&token, &policy(), &idp.keys()), Err(Why::SignatureInvalid), "{name}");
    }
    assert!(verified(&format!("{signed}.{}", encode(raw)), &policy(), &idp.keys()).is_ok());
}

#[test]
fn a_public_key_is_no_secret() {
    // RFC 8725 §2.1: the public key, as the secret of an HMAC.
    let idp = Idp::new();
    let public = idp.jwks().to_string();
    let signed = format!(
        "{}.{}",
        encode(with(header(), json!({ "alg": "HS256" })).to_string()),
        encode(claims().to_string())
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
    let mac = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", encode(mac.as_ref()));
    assert_eq!(verified(&token, &policy(), &idp.keys()), Err(Why::AlgorithmNotAllowed));
    // Even where the list would let it pass, the key is not of that kind.
    let open = Policy { algorithms: vec![Algorithm::HS256, Algorithm::ES256], ..policy() };
    assert_eq!(verified(&token, &open, &idp.keys()), Err(Why::KeyOfOtherAlgorithm));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes in, nothing panics, and nothing that was not signed is taken.
    #[test]
    fn no_text_is_a_token_by_chance(text in "[a-zA-Z0-9_.=-]{0,80}", bytes in any::<Vec<u8>>()) {
        let idp = IDP.with(|idp| idp.keys());
        prop_assert!(verified(&text, &policy(), &idp).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(verified(&text, &policy(), &idp).is_err());
        is_jwt(&text);
    }

    /// A token with one octet changed is no token.
    #[test]
    fn a_token_is_whole_or_nothing(at in 0usize..400, to in 0u8..128) {
        IDP.with(|idp| {
            let token = idp.token(&header(), &claims());
            let mut octets = token.clone().into_bytes();
            let at = at % octets.len();
            octets[at] = to;
            let changed = String::from_utf8(octets).expect("ASCII");
            let taken = verified(&changed, &policy(), &idp.keys()).is_ok();
            prop_assert!(!taken || changed == token, "{changed}");
            Ok(())
        })?;
    }
}

thread_local! {
    static IDP: Idp = Idp::new();
}
