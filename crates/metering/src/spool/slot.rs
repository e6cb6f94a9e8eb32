//! The directories of spools: each belongs to one process at a time.
//!
//! Below the configured directory there is one for each server of this machine, numbered from 0, with a lock that ends with the
//! process that holds it. So servers need no names, and whoever finds one that is not locked and not empty may take it over.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// More servers on one machine are a mistake.
const MOST: u32 = 1000;

/// A directory that is ours until this is dropped or unlocked.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl Slot {
    /// The first that nobody has, made where it is not there.
    pub(super) fn take(parent: &Path) -> io::Result<Self> {
        for number in 0..MOST {
            if let Some(slot) = Self::lock(parent, number)? {
                return Ok(slot);
            }
        }
        Err(io::Error::other(format!("{MOST} servers have their spools in it")))
    }

    /// One that has something to ship and that nobody has.
    pub(super) fn left(parent: &Path) -> io::Result<Option<Self>> {
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            let Some(number) = number(&entry.path()) else { continue };
            if !segments(&entry.path())?.is_empty()
                && let Some(slot) = Self::lock(parent, number)?
            {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// This and all beside it, in no order.
    pub(super) fn all(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path.parent().unwrap_or(&self.path))? {
            let entry = entry?;
            if number(&entry.path()).is_some() && entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// One of these, if nobody has it.
    pub(super) fn retake(path: &Path) -> io::Result<Option<Self>> {
        match (path.parent(), number(path)) {
            (Some(parent), Some(number)) => Self::lock(parent, number),
            _ => Ok(None),
        }
    }

    /// Leaves it to others. Closing the file alone would not do: a program that is being started elsewhere in the process has it, too, for a
    /// moment.
    pub(super) fn unlock(&self) {
        if let Some(lock) = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take()
            && let Err(error) = lock.unlock()
        {
            tracing::warn!(target: "tenantry::spool", %error, directory = %self.path.display(), "a spool is left locked until the process ends");
        }
    }

    fn lock(parent: &Path, number: u32) -> io::Result<Option<Self>> {
        let path = parent.join(number.to_string());
        if !path.is_dir() {
            // What is in it is what tenants do: nobody else's to read.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            // What is on the disk is lost all the same where the way to it is not.
            parent.ancestors().take(3).try_for_each(|directory| match File::open(directory) {
                Ok(directory) => directory.sync_all(),
                // `a/b` begins where we are
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            })?;
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path, lock: Mutex::new(Some(lock)) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok().filter(|number| *number < MOST)
}

/// The segments of a directory, in their order.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|extension| extension == "seg")
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_have_the_same_and_one_that_was_left_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (Slot::take(directory.path()).unwrap(), Slot::take(directory.path()).unwrap());
        assert_eq!(first.path.file_name().zip(second.path.file_name()), Some(("0".as_ref(), "1".as_ref())));
        fs::write(second.path.join("00000001.seg"), "").unwrap();
        assert!(Slot::left(directory.path()).unwrap().is_none(), "its process lives");
        let path = second.path.clone();
        drop(second);
        assert_eq!(Slot::left(directory.path()).unwrap().unwrap().path, path);
        assert_eq!(Slot::take(directory.path()).unwrap().path, path);
        drop(first);
        assert!(
            Slot::left(directory.path()).unwrap().is_some_and(|slot| slot.path == path),
            "an empty one has nothing"
        );
    }
}
