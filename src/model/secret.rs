//! Secrets: a value that can be used but not shown, and the reference that a file holds in its
//! place.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A secret's value. Neither `Debug` nor any other formatting shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the bytes of a secret out of its source.
    pub fn new(bytes: &[u8]) -> Self {
        Secret(Arc::from(bytes))
    }

    /// The bytes, for the one place that uses them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret comes from. This is what files hold and what the admin listener shows.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, read again when it changes.
    File(PathBuf),
    /// A command whose standard output is the secret.
    Command(Vec<String>),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Env(name) => write!(f, "env:{name}"),
            SecretSource::File(path) => write!(f, "file:{}", path.display()),
            // Arguments may hold secrets of their own: the program's name says enough.
            SecretSource::Command(argv) => {
                write!(f, "command:{}", argv.first().map_or("", String::as_str))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new(b"hunter2");
        assert!(!format!("{secret:?} {:?}", Some(&secret)).contains("hunter2"));
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn a_source_is_shown_without_its_arguments() {
        let command = SecretSource::Command(vec!["vault".into(), "--token=abc".into()]);
        assert_eq!(command.to_string(), "command:vault");
        assert_eq!(format!("{command:?}"), "command:vault");
        assert_eq!(SecretSource::Env("NS_CK".into()).to_string(), "env:NS_CK");
    }
}
