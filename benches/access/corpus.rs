//! Policies by the thousand: each client with rules, keys and a client of the issuer.

use erpgate::model::digest::Sha256;
use erpgate::stages::authentication::api_key;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// Rules of each client.
pub const RULES: usize = 20;
/// API keys of each client.
pub const KEYS: usize = 10;
/// The scope that every rule needs.
pub const SCOPE: &str = "records:read";
/// What the last rule of each client allows.
pub const TARGET: &str = "/v/records/kind19/7";

/// Writes the policies of so many clients into `policies` of the folder.
pub fn write(folder: &Path, clients: usize) -> io::Result<()> {
    std::fs::create_dir_all(folder.join("policies"))?;
    (0..clients).try_for_each(|client| write_one(folder, client, ""))
}

/// Writes one policy, with more lines at its top.
pub fn write_one(folder: &Path, client: usize, lines: &str) -> io::Result<()> {
    let file = folder.join(format!("policies/{}.toml", name(client)));
    std::fs::write(file, format!("{lines}{}", policy(client)))
}

/// Name of a client, at the issuer too.
pub fn name(client: usize) -> String {
    format!("client-{client:05}")
}

/// An API key of a client.
pub fn key(client: usize, number: usize) -> String {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&client.to_le_bytes());
    entropy[8..16].copy_from_slice(&number.to_le_bytes());
    api_key::make(entropy)
}

fn policy(client: usize) -> String {
    let name = name(client);
    let mut text = format!(
        "client = \"{name}\"\n[[identity]]\nissuer = \"corporate\"\nclient_id = \"{name}\"\n\
         [limits]\nrate = \"600/minute\"\n"
    );
    for number in 0..KEYS {
        let digest = Sha256::of(key(client, number).as_bytes());
        // Writing into a text can't fail.
        let _ =
            writeln!(text, "[[identity]]\napi_key_sha256 = \"{digest}\"\nscopes = [\"{SCOPE}\"]");
    }
    for rule in 0..RULES {
        let _ = writeln!(
            text,
            "[[allow]]\nroute = \"r\"\nmethods = [\"GET\", \"POST\"]\n\
             paths = [\"/records/kind{rule}/**\"]\nscopes = [\"{SCOPE}\"]"
        );
    }
    text
}
