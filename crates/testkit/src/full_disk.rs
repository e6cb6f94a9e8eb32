//! A disk that is full when a test says so.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A library for the server's process that refuses to let files grow, as a full disk does (`ENOSPC`).
#[derive(Debug)]
pub struct FullDisk {
    directory: TempDir,
}

impl FullDisk {
    /// Compiles it. Nothing is full yet.
    ///
    /// # Panics
    /// Without a C compiler, which Rust needs as well to link.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The server may run under another account.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("the directory is ours");
        let source = directory.path().join("full_disk.c");
        fs::write(&source, include_str!("full_disk.c")).expect("the directory is ours");
        let disk = Self { directory };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(disk.library()).arg(&source).arg("-ldl");
        assert!(compiler.status().expect("`cc` is installed").success(), "the library compiles");
        disk
    }

    /// What the server's environment needs.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let variable = |name: &str, path: PathBuf| (name.to_owned(), path.display().to_string());
        vec![variable("LD_PRELOAD", self.library()), variable("FULL_DISK", self.flag())]
    }

    /// From now on no file grows whose path contains `part`.
    ///
    /// # Panics
    /// When the temporary directory is gone.
    pub fn fill(&self, part: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, part).expect("the directory is ours");
        fs::set_permissions(&new, Permissions::from_mode(0o644)).expect("the file is ours");
        fs::rename(&new, self.flag()).expect("the directory is ours");
    }

    /// From now on no file can be written whose path contains `part`: the half of each write is there, and the rest fails.
    ///
    /// # Panics
    /// When the temporary directory is gone.
    pub fn break_down(&self, part: &str) {
        self.fill(&format!("!{part}"));
    }

    /// There is space again, or it is mended.
    ///
    /// # Panics
    /// When it was neither full nor broken.
    pub fn free(&self) {
        fs::remove_file(self.flag()).expect("the disk was full, or broken");
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("full_disk.so")
    }

    fn flag(&self) -> PathBuf {
        self.directory.path().join("full")
    }
}

impl Default for FullDisk {
    fn default() -> Self {
        Self::new()
    }
}
