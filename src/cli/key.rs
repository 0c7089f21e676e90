//! `erpgate key new`: an API key for a client, and the lines that let it in.

use super::{DONE, FAILED, Format, USAGE};
use crate::model::digest::Sha256;
use crate::model::scopes::is_scope;
use crate::stages::authentication::api_key;
use serde_json::json;
use std::io::Write;

/// What the command was asked for.
#[derive(Debug)]
pub struct Options {
    /// Whose key it will be.
    pub client: String,
    /// Its last day, in UTC.
    pub expires: Option<jiff::civil::Date>,
    /// What it will be good for.
    pub scopes: Vec<String>,
    /// How to print it.
    pub format: Format,
}

/// Makes a key and prints it, once. Returns the exit status.
pub fn new(options: &Options) -> u8 {
    if let Some(scope) = options.scopes.iter().find(|scope| !is_scope(scope)) {
        eprintln!("erpgate: {scope:?} can't be a scope: write one scope without spaces and quotes");
        return USAGE;
    }
    let key = api_key::make(rand::random());
    let digest = Sha256::of(key.as_bytes());
    let identity = identity(options, &digest);
    let mut out = std::io::stdout().lock();
    let printed = match options.format {
        Format::Json => {
            let answer = json!({ "key": key, "sha256": digest.to_string(), "identity": identity });
            writeln!(out, "{answer}")
        }
        Format::Human => writeln!(
            out,
            "{key}\n\nThis is the only time that the key is shown: hand it to {} by a safe way.\n\
             These lines, in its policy, let it in:\n\n{identity}",
            options.client
        ),
    };
    if printed.and_then(|()| out.flush()).is_ok() { DONE } else { FAILED }
}

/// The lines for the client's policy.
fn identity(options: &Options, digest: &Sha256) -> String {
    let mut lines = format!("[[identity]]\napi_key_sha256 = \"{digest}\"\n");
    let scopes: Vec<String> = options.scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    lines.push_str(&format!("scopes = [{}]\n", scopes.join(", ")));
    if let Some(expires) = options.expires {
        lines.push_str(&format!("expires = {expires}\n"));
    }
    lines
}
