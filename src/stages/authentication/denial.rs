//! What keeps a request from being let in: what the client is told, and what the audit log is.

use crate::refusal::Refusal;

/// A refusal with its reason for the audit log: the client learns the first only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the client is told.
    pub refusal: Refusal,
    /// What the log is told: a stable word.
    pub reason: &'static str,
}

/// Why a token does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Longer than any token that is taken.
    TooLong,
    /// Not three parts of canonical base64url (RFC 7515 §7.1).
    Malformed,
    /// Encrypted (RFC 7516): nothing here decrypts.
    Encrypted,
    /// A token inside a token (RFC 8725 §3.3).
    Nested,
    /// Header or claims are not a JSON object.
    NotJson,
    /// A member is there twice.
    MemberDoubled,
    /// Header or claims are nested too deep.
    NestedTooDeep,
    /// `crit` asks for an extension (RFC 7515 §4.1.11); none is known here.
    Critical,
    /// The header brings a key, or says where to get one (RFC 8725 §3.10).
    KeyEmbedded,
    /// `alg` is not one of the issuer's, `none` included (RFC 8725 §3.1).
    AlgorithmNotAllowed,
    /// `typ` is not that of an access token (RFC 9068 §4, RFC 8725 §3.11).
    TypeWrong,
    /// `iss` is not one text, or no issuer's.
    IssuerUnknown,
    /// No key has this `kid`.
    KeyUnknown,
    /// The key is for another algorithm.
    KeyOfOtherAlgorithm,
    /// There is no `kid`, and more than one key fits.
    KeyUnnamed,
    /// The signature does not hold.
    SignatureInvalid,
    /// A claim that the issuer's tokens have is missing, or is not what it should be.
    ClaimMissing,
    /// `aud` does not name us (RFC 9068 §4).
    AudienceWrong,
    /// Made for something else than access: an ID token, a refresh token.
    NotAnAccessToken,
    /// `nbf` or `iat` is in the future.
    NotYetValid,
    /// `exp` has passed.
    Expired,
    /// A scope that can't be one.
    ScopeMalformed,
    /// Bound to a key or certificate in a way that can't be checked here.
    BindingUnknown,
    /// Bound to another certificate than the connection's (RFC 8705 §3).
    BindingBroken,
    /// The policy asks for a bound token, and this one is not.
    Unbound,
    /// The issuer says that it is not active (RFC 7662 §2.2).
    Inactive,
    /// Nobody could say whose it is: not a JWT, and no issuer here is asked.
    NobodyToAsk,
    /// Not the form of an API key, or its checksum is wrong.
    KeyMalformed,
    /// An API key that no policy names.
    KeyNotListed,
    /// An API key whose last day has passed.
    KeyExpired,
    /// `Authorization` that can't be parsed.
    AuthorizationMalformed,
    /// An `Authorization` scheme that is not taken.
    SchemeUnknown,
}

impl Why {
    /// The word in the audit log.
    pub fn word(self) -> &'static str {
        match self {
            Why::TooLong => "token-too-long",
            Why::Malformed => "token-malformed",
            Why::Encrypted => "token-encrypted",
            Why::Nested => "token-nested",
            Why::NotJson => "token-not-json",
            Why::MemberDoubled => "member-doubled",
            Why::NestedTooDeep => "json-too-deep",
            Why::Critical => "critical-header",
            Why::KeyEmbedded => "key-embedded",
            Why::AlgorithmNotAllowed => "algorithm-not-allowed",
            Why::TypeWrong => "type-wrong",
            Why::IssuerUnknown => "issuer-unknown",
            Why::KeyUnknown => "key-unknown",
            Why::KeyOfOtherAlgorithm => "key-of-other-algorithm",
            Why::KeyUnnamed => "key-unnamed",
            Why::SignatureInvalid => "signature-invalid",
            Why::ClaimMissing => "claim-missing",
            Why::AudienceWrong => "audience-wrong",
            Why::NotAnAccessToken => "not-an-access-token",
            Why::NotYetValid => "not-yet-valid",
            Why::Expired => "expired",
            Why::ScopeMalformed => "scope-malformed",
            Why::BindingUnknown => "binding-unknown",
            Why::BindingBroken => "binding-broken",
            Why::Unbound => "token-unbound",
            Why::Inactive => "token-inactive",
            Why::NobodyToAsk => "token-opaque",
            Why::KeyMalformed => "key-malformed",
            Why::KeyNotListed => "key-not-listed",
            Why::KeyExpired => "key-expired",
            Why::AuthorizationMalformed => "authorization-malformed",
            Why::SchemeUnknown => "scheme-unknown",
        }
    }
}
