//! Decides what an introspection answer says of an opaque token (RFC 7662 §2.2, §4).

use super::claims;
use super::denial::Why;
use super::facts::Facts;
use super::jwt::Policy;
use super::strict_json;
use serde_json::{Map, Value};

/// How long an answer counts at most, in seconds: after a revocation a token may live on for so
/// long.
pub const KEPT_SECONDS: i64 = 60;

/// Values of `token_type` for access tokens: RFC 6749 §7.1, and what some servers write.
const TYPES: [&str; 2] = ["bearer", "access_token"];

/// What an answer with status 200 says.
///
/// # Errors
/// Why the token is not taken; `None` where the answer is none, so that nothing is known.
pub fn judge(answer: &[u8], policy: &Policy, now: i64) -> Result<Facts, Option<Why>> {
    let members = strict_json::object(answer).map_err(|_| None)?;
    // Anything but the boolean `true` admits nobody.
    if members.get("active") != Some(&Value::Bool(true)) {
        return Err(Some(Why::Inactive));
    }
    read(&members, policy, now).map_err(Some)
}

fn read(members: &Map<String, Value>, policy: &Policy, now: i64) -> Result<Facts, Why> {
    let text = |name: &str| members.get(name).map(|value| value.as_str().unwrap_or_default());
    let is_bearer = |of: &str| TYPES.iter().any(|known| of.eq_ignore_ascii_case(known));
    let is_access = text("token_type").is_none_or(is_bearer) && text("typ").is_none_or(is_bearer);
    let is_used = |of: &str| ["access_token", "access"].contains(&of);
    if !(is_access && text("token_use").is_none_or(is_used)) {
        return Err(Why::NotAnAccessToken);
    }
    if let (Some(expected), Some(issuer)) = (&policy.issuer, text("iss"))
        && issuer != expected
    {
        return Err(Why::IssuerUnknown);
    }
    let ours = &policy.audiences;
    if !ours.is_empty() && !claims::has_audience(members.get("aud"), ours) {
        return Err(Why::AudienceWrong);
    }
    let expires = claims::date(members, "exp")?.unwrap_or(i64::MAX);
    claims::from_parts(members, policy, expires, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::authentication::accept::Accept;

    fn policy(audiences: &[&str]) -> Policy {
        Policy {
            name: "partners".into(),
            issuer: Some("https://idp.test".to_owned()),
            audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
            algorithms: Vec::new(),
            accept: Accept::Plain,
            leeway: 30,
            client_claims: vec!["client_id".to_owned()],
            scope_claims: vec!["scope".to_owned()],
        }
    }

    #[test]
    fn only_what_is_active_and_ours_is_taken() {
        let good = r#""active":true,"client_id":"c","scope":"a b","exp":2000"#;
        for (more, audiences, expected) in [
            ("", &[][..], Ok(2030)),
            (r#","aud":"gw""#, &["gw"], Ok(2030)),
            (r#","aud":["x","gw"]"#, &["gw"], Ok(2030)),
            (r#","token_type":"Bearer","iss":"https://idp.test""#, &[], Ok(2030)),
            ("", &["gw"], Err(Why::AudienceWrong)),
            (r#","aud":"gw2""#, &["gw"], Err(Why::AudienceWrong)),
            (r#","iss":"https://other.test""#, &[], Err(Why::IssuerUnknown)),
            (r#","nbf":1031"#, &[], Err(Why::NotYetValid)),
            (r#","nbf":1030"#, &[], Ok(2030)),
            (r#","token_type":"refresh_token""#, &[], Err(Why::NotAnAccessToken)),
            (
                r#","token_type":"Bearer","token_use":"refresh_token""#,
                &[],
                Err(Why::NotAnAccessToken),
            ),
            (r#","token_use":"access_token""#, &[], Ok(2030)),
            (r#","typ":"Refresh""#, &[], Err(Why::NotAnAccessToken)),
            (r#","token_type":"DPoP""#, &[], Err(Why::NotAnAccessToken)),
            (r#","cnf":{"jkt":"x"}"#, &[], Err(Why::BindingUnknown)),
        ] {
            let answer = format!("{{{good}{more}}}");
            let judged = judge(answer.as_bytes(), &policy(audiences), 1000);
            let judged = judged.map(|facts| facts.expires).map_err(|why| why.expect("an answer"));
            assert_eq!(judged, expected, "{answer}");
        }
    }

    #[test]
    fn what_is_not_active_or_no_answer_admits_nobody() {
        for (answer, expected) in [
            (r#"{"active":false}"#, Some(Why::Inactive)),
            (r#"{"active":"true","client_id":"c"}"#, Some(Why::Inactive)),
            (r#"{"active":1,"client_id":"c"}"#, Some(Why::Inactive)),
            (r#"{"client_id":"c"}"#, Some(Why::Inactive)),
            (r#"{"active":true}"#, Some(Why::ClaimMissing)),
            (r#"{"active":true,"client_id":"c","exp":"x"}"#, Some(Why::ClaimMissing)),
            (r#"{"active":true,"client_id":"c","scope":7}"#, Some(Why::ScopeMalformed)),
            (r#"{"active":false,"active":true,"client_id":"c"}"#, None),
            ("true", None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(judge(answer.as_bytes(), &policy(&[]), 1000), Err(expected), "{answer}");
        }
    }
}
