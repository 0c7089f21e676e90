//! The client of the bench: its token, and what lets it in.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

/// The variable that holds the issuer's secret, and the secret.
pub const SECRET: (&str, &str) = ("BENCH_SECRET", "0123456789abcdef0123456789abcdef");

/// What trusts the token.
pub const ISSUER: &str = r#"
[[issuer]]
name = "bench"
issuer = "https://idp.example.com"
audiences = ["erp-gateway"]
accept = "plain"
hmac_secret = { env = "BENCH_SECRET" }
"#;

/// A token as issuers make them, good for as long as any bench takes.
pub static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = json!({
        "iss": "https://idp.example.com", "aud": "erp-gateway", "exp": 4_000_000_000_u64,
        "sub": "0oa1example2client3id", "client_id": "bench", "jti": "AT.0192f0c1-2345-7abc-8def",
        "iat": 1_780_000_000, "scope": "orders:read orders:write",
    });
    let key = EncodingKey::from_secret(SECRET.1.as_bytes());
    encode(&Header::default(), &claims, &key).unwrap_or_default()
});

/// Writes the client's policy into a configuration folder.
pub fn write_policy(folder: &Path) -> io::Result<()> {
    let allow = |route: &str| {
        format!(
            "[[allow]]\nroute = \"{route}\"\nmethods = [\"*\"]\npaths = [\"/**\"]\n\
             scopes = [\"orders:read\"]\n"
        )
    };
    std::fs::create_dir_all(folder.join("policies"))?;
    let identity = "client = \"bench\"\n[[identity]]\nissuer = \"bench\"\nclient_id = \"bench\"\n";
    let policy = format!("{identity}{}{}", allow("erp"), allow("bulk"));
    std::fs::write(folder.join("policies/bench.toml"), policy)
}
