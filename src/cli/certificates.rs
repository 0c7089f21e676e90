//! `erpgate certificates`: certificates and keys for development, made where there are none.

use super::{DONE, FAILED};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Names that the development certificate holds for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Days that everything made here holds.
const DAYS: i64 = 365;

/// Fills the folder. Returns the exit status.
pub fn certificates(folder: &Path) -> u8 {
    match fill(folder) {
        Ok(true) => {
            println!("made development certificates in {}:", folder.display());
            println!("  default.pem, default.key   what the gateway shows (localhost)");
            println!("  client-ca.pem              who may sign clients' certificates");
            println!("  dev/ca.pem                 for clients: curl --cacert");
            println!("  dev/client.pem, .key       a client's certificate");
            DONE
        }
        Ok(false) => {
            println!("{} has a certificate already; nothing was changed", folder.display());
            DONE
        }
        Err(error) => {
            eprintln!("no certificates were made in {}: {error}", folder.display());
            FAILED
        }
    }
}

/// Whether anything was made. What is there is never replaced.
fn fill(folder: &Path) -> Result<bool, Box<dyn Error>> {
    if folder.join("default.pem").exists() {
        return Ok(false);
    }
    let dev = folder.join("dev");
    fs::create_dir_all(&dev)?;
    let (server_ca, server_ca_pem) = authority("erpgate development CA")?;
    let (client_ca, client_ca_pem) = authority("erpgate development client CA")?;
    let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let server = leaf(names, "localhost", ExtendedKeyUsagePurpose::ServerAuth)?;
    let client_names = vec!["client.erpgate.test".to_owned()];
    let client = leaf(client_names, "development client", ExtendedKeyUsagePurpose::ClientAuth)?;
    let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let server_pem = server.signed_by(&server_key, &server_ca)?.pem();
    let client_pem = client.signed_by(&client_key, &client_ca)?.pem();
    private(&folder.join("default.key"), &server_key.serialize_pem())?;
    private(&dev.join("client.key"), &client_key.serialize_pem())?;
    fs::write(folder.join("client-ca.pem"), client_ca_pem)?;
    fs::write(dev.join("ca.pem"), server_ca_pem)?;
    fs::write(dev.join("client.pem"), client_pem)?;
    // Last: its presence says that the rest is there.
    fs::write(folder.join("default.pem"), server_pem)?;
    Ok(true)
}

/// An authority whose key is never written: it signs what is made now, and nothing later.
fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String), rcgen::Error> {
    let mut params = params(Vec::new(), name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn leaf(
    names: Vec<String>,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(names, name)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(names: Vec<String>, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = std::time::SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + std::time::Duration::from_secs(DAYS.unsigned_abs() * 86_400)).into();
    Ok(params)
}

/// Writes a file that only this user can read, from its first byte on.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn fills_an_empty_folder_and_leaves_a_filled_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let certs = folder.path().join("certs");
        assert!(fill(&certs).expect("made"));
        let before = fs::read(certs.join("default.pem")).expect("made");
        assert!(!fill(&certs).expect("left"));
        assert_eq!(fs::read(certs.join("default.pem")).expect("there"), before);
        for key in ["default.key", "dev/client.key"] {
            let mode = fs::metadata(certs.join(key)).expect("made").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }
}
