//! Segment files: made whole before they are written, so that a write is one of the disk's and needs no space.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

const CHUNK: usize = 1 << 20;
const PAGE: usize = 4096;

/// A segment that is written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// Its place in the order.
    pub(super) number: u64,
    /// The bytes that it has room for, its header included.
    pub(super) size: u64,
}

impl Segment {
    /// Makes one of zeros, which are on the disk when this returns: nothing but its contents changes from now on.
    pub(super) fn create(directory: &Path, number: u64, size: u64) -> io::Result<Self> {
        let path = path(directory, number);
        Self::filled(directory, &path, size).inspect_err(|_| drop(fs::remove_file(&path)))?;
        let flags = OFlags::DSYNC.bits().cast_signed();
        let file = OpenOptions::new().write(true).custom_flags(flags).open(&path)?;
        Ok(Self { file, number, size })
    }

    fn filled(directory: &Path, path: &Path, size: u64) -> io::Result<()> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        let zeros = vec![0; CHUNK];
        let mut at = 0;
        while at < size {
            let part = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            file.write_all_at(&zeros[..part], at)?;
            at += part as u64;
        }
        file.sync_all()?;
        File::open(directory)?.sync_all()
    }

    /// Gives one that is not written yet another place in the order.
    pub(super) fn renumber(&mut self, directory: &Path, number: u64) -> io::Result<()> {
        fs::rename(path(directory, self.number), path(directory, number))?;
        self.number = number;
        File::open(directory)?.sync_all()
    }

    /// Writes bytes, which are on the disk when this returns.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }
}

/// The name of a segment's file.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.seg"))
}

/// Reads a part of a segment. Where the disk cannot read it, there are zeros: what is beside that is wanted all the same.
pub(super) fn read(directory: &Path, number: u64, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?];
    let file = File::open(path(directory, number))?;
    if file.read_exact_at(&mut bytes, from).is_ok() {
        return Ok(bytes);
    }
    for (at, page) in (from..).step_by(PAGE).zip(bytes.chunks_mut(PAGE)) {
        if file.read_exact_at(page, at).is_err() {
            page.fill(0);
        }
    }
    Ok(bytes)
}

/// Removes one. That it is gone need not be on the disk: what is shipped twice is booked once.
pub(super) fn remove(directory: &Path, number: u64) -> io::Result<()> {
    match fs::remove_file(path(directory, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps one that is damaged under another name, for people to look at.
pub(super) fn set_aside(directory: &Path, number: u64) -> io::Result<()> {
    let from = path(directory, number);
    fs::rename(&from, from.with_extension("damaged"))
}
