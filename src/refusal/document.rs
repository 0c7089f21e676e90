//! The problem document of a refusal: RFC 9457 with the members that INTERFACE §5 names.

use super::{Executed, Refusal};
use serde_json::{Map, Value};

/// Media type of every answer that erpgate makes itself.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What is known of the request that a refusal answers.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// The request's correlation id.
    pub correlation_id: &'a str,
    /// Whether the vendor acted.
    pub executed: Executed,
    /// Whether it came under an idempotency key.
    pub keyed: bool,
    /// The vendor, where one was asked.
    pub vendor: Option<VendorFacts<'a>>,
}

/// The `vendor` member of a problem.
#[derive(Clone, Debug)]
pub struct VendorFacts<'a> {
    /// The vendor's name in the configuration.
    pub name: &'a str,
    /// The status that it answered.
    pub status: Option<u16>,
    /// Its own code of what was wrong.
    pub code: Option<&'a str>,
    /// Its own id of the request.
    pub request_id: Option<&'a str>,
}

/// The document, as the bytes of the body.
pub fn write(refusal: &Refusal, circumstances: &Circumstances<'_>) -> Vec<u8> {
    let executed = circumstances.executed;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("type", format!("urn:erpgate:problem:{}", refusal.slug()).into());
    put("title", refusal.title().into());
    put("status", refusal.status().into());
    put("detail", refusal.detail().into());
    put("instance", format!("urn:erpgate:request:{}", circumstances.correlation_id).into());
    put("code", refusal.slug().into());
    put("action", refusal.action().into());
    put("executed", executed.as_str().into());
    put("retryable", refusal.retryable(executed, circumstances.keyed).into());
    if let Some(seconds) = refusal.retry_after() {
        put("retry_after", seconds.into());
    }
    put("correlation_id", circumstances.correlation_id.into());
    if let Some(vendor) = &circumstances.vendor {
        put("vendor", vendor.to_json());
    }
    Value::Object(members).to_string().into_bytes()
}

impl VendorFacts<'_> {
    fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert("name".into(), self.name.into());
        if let Some(status) = self.status {
            members.insert("status".into(), status.into());
        }
        if let Some(code) = self.code {
            members.insert("code".into(), code.into());
        }
        if let Some(id) = self.request_id {
            members.insert("request_id".into(), id.into());
        }
        Value::Object(members)
    }
}

impl Executed {
    /// The value of the member `executed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Executed::No => "no",
            Executed::Unknown => "unknown",
            Executed::Yes => "yes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Unreachable;

    #[test]
    fn holds_every_member_in_order() {
        let circumstances = Circumstances {
            correlation_id: "0192-abcdef",
            executed: Executed::No,
            keyed: false,
            vendor: Some(VendorFacts {
                name: "netsuite",
                status: None,
                code: None,
                request_id: None,
            }),
        };
        let refusal = Refusal::VendorUnreachable(Unreachable::Refused);
        let text = String::from_utf8(write(&refusal, &circumstances)).expect("JSON is UTF-8");
        assert_eq!(
            text,
            concat!(
                r#"{"type":"urn:erpgate:problem:vendor-unreachable","#,
                r#""title":"Vendor unreachable","status":502,"#,
                r#""detail":"The vendor refused the connection.","#,
                r#""instance":"urn:erpgate:request:0192-abcdef","code":"vendor-unreachable","#,
                r#""action":"Try again later; nothing was sent.","executed":"no","#,
                r#""retryable":true,"correlation_id":"0192-abcdef","vendor":{"name":"netsuite"}}"#
            )
        );
    }

    #[test]
    fn an_unknown_outcome_is_not_retryable() {
        assert!(Refusal::VendorTimeout.retryable(Executed::No, false));
        assert!(!Refusal::VendorTimeout.retryable(Executed::Unknown, false));
        assert!(Refusal::VendorTimeout.retryable(Executed::Unknown, true), "with the same key");
        assert!(!Refusal::RouteNotFound.retryable(Executed::No, true));
        assert!(!Refusal::AnswerNotKept(Executed::No).retryable(Executed::No, true));
    }
}
