//! Segment files: made whole before they are written, so that a write is one of the disk's and needs no space.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::frame::HEADER_BYTES;

/// As much is on its way to the disk at a time: a record that is written meanwhile waits behind that, not behind a whole segment.
const CHUNK: usize = 1 << 20;
/// Then the disk is left to the records for so long.
const REST: Duration = Duration::from_millis(20);
const PAGE: usize = 4096;
/// The extension of files that wait to be used again.
pub(super) const RETIRED: &str = "old";
/// The extension of files that people are to look at.
pub(super) const DAMAGED: &str = "damaged";

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
        Self::make(directory, number, size, Self::at_once)
    }

    /// The same, without being in the way of a segment that is written meanwhile.
    pub(super) fn create_beside(directory: &Path, number: u64, size: u64) -> io::Result<Self> {
        Self::make(directory, number, size, Self::little_by_little)
    }

    /// One in a file that was [retired](retire) or [filled](fill): there is nothing to fill, and no space to be had. What is left of the old records is none
    /// here, because their checksums are of another place; without the old header the file is one that was made in advance.
    pub(super) fn reuse(directory: &Path, old: &Path, number: u64, size: u64) -> io::Result<Self> {
        let new = path(directory, number);
        let reused = || {
            let file = Self::open(old)?;
            file.write_all_at(&[0; HEADER_BYTES], 0)?;
            fs::rename(old, &new)?;
            File::open(directory)?.sync_all()?;
            Ok(Self { file, number, size })
        };
        reused().inspect_err(|_| [old, &new].into_iter().for_each(|path| drop(fs::remove_file(path))))
    }

    fn open(path: &Path) -> io::Result<File> {
        let flags = OFlags::DSYNC.bits().cast_signed();
        OpenOptions::new().write(true).custom_flags(flags).open(path)
    }

    fn make(directory: &Path, number: u64, size: u64, fill: fn(&File, u64) -> io::Result<()>) -> io::Result<Self> {
        let path = path(directory, number);
        Self::filled(directory, &path, size, fill)?;
        Ok(Self { file: Self::open(&path)?, number, size })
    }

    fn filled(directory: &Path, path: &Path, size: u64, fill: fn(&File, u64) -> io::Result<()>) -> io::Result<()> {
        Self::fill(directory, path, size, fill).inspect_err(|_| drop(fs::remove_file(path)))
    }

    fn fill(directory: &Path, path: &Path, size: u64, fill: fn(&File, u64) -> io::Result<()>) -> io::Result<()> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        fill(&file, size)?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    }

    fn at_once(file: &File, size: u64) -> io::Result<()> {
        zeros(size).try_for_each(|(at, zeros)| file.write_all_at(&zeros, at))
    }

    fn little_by_little(file: &File, size: u64) -> io::Result<()> {
        zeros(size).try_for_each(|(at, zeros)| {
            file.write_all_at(&zeros, at)?;
            file.sync_data()?;
            std::thread::sleep(REST);
            Ok(())
        })
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

/// Zeros for a whole segment in parts, with their places.
fn zeros(size: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    (0..size).step_by(CHUNK).map(move |at| (at, vec![0; usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK)]))
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

/// Keeps the file of one that is shipped, under a name that is no segment's; `false` when it is gone.
pub(super) fn retire(directory: &Path, number: u64) -> io::Result<bool> {
    match fs::rename(path(directory, number), retired_path(directory, number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        renamed => renamed.map(|()| true),
    }
}

/// Removes a file that is not used again after all.
pub(super) fn remove_retired(directory: &Path, number: u64) -> io::Result<()> {
    fs::remove_file(retired_path(directory, number))
}

/// Makes a file of zeros that waits to be used as a retired one does, without being in the way of what is written meanwhile. `n` tells it from others
/// that are made so.
pub(super) fn fill(directory: &Path, n: u64, size: u64) -> io::Result<PathBuf> {
    let path = directory.join(format!("new-{n}")).with_extension(RETIRED);
    // left by an attempt that was cut off
    let _ = fs::remove_file(&path);
    Segment::filled(directory, &path, size, Segment::little_by_little)?;
    Ok(path)
}

/// Where the file of a retired one is.
pub(super) fn retired_path(directory: &Path, number: u64) -> PathBuf {
    path(directory, number).with_extension(RETIRED)
}

/// Keeps one that is damaged under another name, for people to look at.
pub(super) fn set_aside(directory: &Path, number: u64) -> io::Result<()> {
    let from = path(directory, number);
    fs::rename(&from, from.with_extension(DAMAGED))
}
