//! The shipped file is without problems, and no damage to it makes the reader panic.

use super::{loaded, now};
use crate::config::resolve::{Mode, load};
use crate::config::sources::{Memory, System};

const SHIPPED: &str = include_str!("../../../../gateway.toml");

#[test]
fn the_shipped_file_has_no_problems_once_there_are_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, SHIPPED).expect("written");
    let certs = folder.path().join("certs");
    std::fs::create_dir(&certs).expect("made");
    let (chain, key) = super::certificates::pair(&["localhost"], 0, 365);
    std::fs::write(certs.join("default.pem"), &chain).expect("written");
    std::fs::write(certs.join("default.key"), &key).expect("written");
    std::fs::write(certs.join("client-ca.pem"), &chain).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(certs.join("default.key"), private).expect("set");
    }
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).expect("made");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    for file in std::fs::read_dir(shipped).expect("shipped").flatten() {
        if file.path().is_file() {
            std::fs::copy(file.path(), policies.join(file.file_name())).expect("copied");
        }
    }
    for mode in [Mode::Run, Mode::Check, Mode::Sandbox] {
        let loaded = load(&file, &System, mode, now());
        assert!(loaded.problems.is_empty(), "{}", loaded.human());
        assert!(loaded.watched.contains(&certs) && loaded.watched.contains(&policies));
        assert_eq!(loaded.config.expect("one").policies.directory.len(), 4);
    }
}

/// A linear congruential generator (Knuth's MMIX): the same damage in every run.
struct Damage(u64);

impl Damage {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn apply(&mut self, bytes: &mut Vec<u8>) {
        const INTERESTING: &[u8] = b"\"'[]{}=.,#\n\r\t \\-0a\x00\x1b\xc3\xa4\xff";
        let at = self.below(bytes.len());
        match self.below(4) {
            0 => bytes[at] = INTERESTING[self.below(INTERESTING.len())],
            1 => bytes.insert(at, INTERESTING[self.below(INTERESTING.len())]),
            2 => drop(bytes.remove(at)),
            _ => {
                let from = self.below(bytes.len());
                let piece = bytes[from..(from + 20).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn damage_never_panics() {
    let mut damage = Damage(1);
    let mut refused = 0;
    for round in 0..2_000 {
        let mut bytes = SHIPPED.as_bytes().to_vec();
        for _ in 0..=damage.below(6) {
            damage.apply(&mut bytes);
        }
        let sources = Memory::default().with("gateway.toml", bytes);
        let loaded = load(std::path::Path::new("gateway.toml"), &sources, Mode::Run, now());
        // Certificates are missing, so there is always something to show.
        assert!(!loaded.human().is_empty() && !loaded.json().is_empty(), "{round}");
        refused += usize::from(loaded.config.is_none());
    }
    assert_eq!(refused, 2_000);
}

#[test]
fn large_and_deep_files_end_in_problems() {
    let deep = format!("a = {}1{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let many: String = (0..1_000).map(|n| format!("key{n} = {n}\n")).collect();
    let long = format!("[server]\nname = \"{}\"\n", "x".repeat(1 << 20));
    for text in [deep, many, long] {
        let loaded = loaded(&text, Memory::default(), Mode::Run);
        assert!(loaded.config.is_none());
        assert!(loaded.human().len() < 200_000, "{}", loaded.human().len());
    }
}
