//! A folder with a configuration, and certificates where they are asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A configuration folder.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    /// With a gateway.toml, and a policy by which one client may use each of its routes.
    pub fn with(config: &str) -> Folder {
        let folder = Folder::without_policies(config);
        let name = |route| str::split_once(route, "name = \"")?.1.split('"').next();
        let routes: Vec<&str> = config.split("[[route]]").skip(1).filter_map(name).collect();
        folder.write("policies/tester.toml", &super::policy(&routes));
        folder
    }

    /// With a gateway.toml alone: nobody may do anything.
    pub fn without_policies(config: &str) -> Folder {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder { dir };
        folder.write("gateway.toml", config);
        folder
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        // Replaced in one step, as editors and configuration tools do.
        let new = path.with_extension("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, path).expect("renamed");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).expect(name)
    }

    /// Fills `certs/` as `make run` does.
    pub fn make_certificates(&self) {
        let made = Command::new(env!("CARGO_BIN_EXE_erpgate"))
            .args(["certificates", "--dir"])
            .arg(self.dir.path().join("certs"))
            .output()
            .expect("runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}
