//! The examples of RFC 7515 (appendix A), RFC 7520 (section 4) and RFC 8037 (appendix A.4).

use super::policy;
use crate::stages::authentication::accept::Accept;
use crate::stages::authentication::denial::Why;
use crate::stages::authentication::jwt::{Policy, take_apart};
use crate::stages::authentication::keys::{self, KeySet};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

/// Of RFC 7515: `{"iss":"joe","exp":1300819380,"http://example.com/is_root":true}`.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
        c19yb290Ijp0cnVlfQ";
/// Of RFC 7520: a line of Tolkien's, which is no claims.
const FRODO: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4g\
        WW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwg\
        dGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
/// RFC 7515 A.2 and RFC 7520 §3.4: moduli of two RSA keys.
const RSA_7515: &str = "\
        ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrc\
        S2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGz\
        jb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xs\
        mtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8\
        q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_7520: &str = "\
        n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7\
        nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHH\
        ig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC\
        0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixo\
        R7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";

fn everything() -> Vec<Algorithm> {
    keys::ALGORITHMS
        .iter()
        .map(|(_, algorithm)| *algorithm)
        .filter(|a| !keys::is_symmetric(*a))
        .collect()
}

fn set(key: &Value) -> KeySet {
    KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes(), &everything()).expect("fit").0
}

fn holds(keys: &KeySet, id: Option<&str>, algorithm: Algorithm, token: &str) -> Result<(), Why> {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    keys.verify(id, algorithm, signed.as_bytes(), signature)
}

#[test]
fn hmac() {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjA\
        zZr1Z9CAow";
    let keys = |secret: &str| {
        KeySet::of_secret(&URL_SAFE_NO_PAD.decode(secret).expect("base64"), &[Algorithm::HS256])
    };
    let head = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    let token = format!("{head}.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(holds(&keys(secret), None, Algorithm::HS256, &token), Ok(()));
    // All of it: it says who made it, and that it expired in 2011; for whom, it does not say.
    let policy = Policy {
        issuer: Some("joe".to_owned()),
        algorithms: vec![Algorithm::HS256],
        accept: Accept::Plain,
        ..policy()
    };
    let unverified = take_apart(&token).expect("whole");
    assert_eq!(unverified.issuer(), Ok("joe"));
    let refused = unverified.verify(&policy, &keys(secret), 1_300_819_000);
    assert_eq!(refused, Err(Why::AudienceWrong));
    let secret = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";
    let head = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAz\
        NyJ9";
    let token = format!("{head}.{FRODO}.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0");
    let id = Some("018c0ae5-4d9b-471b-bfd6-eef314bc7037");
    assert_eq!(holds(&keys(secret), id, Algorithm::HS256, &token), Ok(()));
    assert_eq!(take_apart(&token).err(), Some(Why::NotJson));
    let other = token.replace("s0h6", "s0h7");
    assert_eq!(holds(&keys(secret), id, Algorithm::HS256, &other), Err(Why::SignatureInvalid));
}

#[test]
fn rsa() {
    let keys = set(&json!({ "kty": "RSA", "n": RSA_7515, "e": "AQAB", "alg": "RS256" }));
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Q\
        c_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTy\
        WzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu\
        sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5A\
        XLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}");
    assert_eq!(holds(&keys, None, Algorithm::RS256, &token), Ok(()));
    let bilbo = "bilbo.baggins@hobbiton.example";
    let key = json!({ "kty": "RSA", "kid": bilbo, "use": "sig", "n": RSA_7520, "e": "AQAB" });
    let keys = set(&key);
    let head = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
    let signature = "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwz\
        JdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746\
        iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW\
        3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ4\
        1Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
    let token = format!("{head}.{FRODO}.{signature}");
    assert_eq!(holds(&keys, Some(bilbo), Algorithm::RS256, &token), Ok(()));
    assert_eq!(holds(&keys, Some(bilbo), Algorithm::PS256, &token), Err(Why::SignatureInvalid));
    let head = "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
    let signature = "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklH\
        kqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVs\
        diNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjv\
        AA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOc\
        bH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";
    let token = format!("{head}.{FRODO}.{signature}");
    assert_eq!(holds(&keys, Some(bilbo), Algorithm::PS384, &token), Ok(()));
}

#[test]
fn elliptic_curves() {
    let keys = set(&json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }));
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqP\
        P3-Kg6NU1Q";
    let token = format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{signature}");
    assert_eq!(holds(&keys, None, Algorithm::ES256, &token), Ok(()));
    // RFC 7515 A.4 and RFC 7520 §4.3 sign with ES512, which nobody here verifies.
    let head = "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
    let token = format!("{head}.{JOE}.AE_R");
    let refused = take_apart(&token).expect("whole").check_header(&policy());
    assert_eq!(refused, Err(Why::AlgorithmNotAllowed));
    // RFC 7515 A.5: not signed at all.
    let token = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    let refused = take_apart(&token).expect("whole").check_header(&policy());
    assert_eq!(refused, Err(Why::AlgorithmNotAllowed));
}

#[test]
fn edwards_curves() {
    let keys = set(&json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }));
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnL\
        WG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(holds(&keys, None, Algorithm::EdDSA, token), Ok(()));
}
