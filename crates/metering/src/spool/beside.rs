//! What lies beside the segments for people to look at: rows that the database refuses, and segments that are damaged.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::Spool;
use super::segment::DAMAGED;
use super::slot::Slot;

/// Rows that the database refuses for what they are.
const REJECTED: &str = "rejected.jsonl";

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    at: DateTime<Utc>,
    call: Value,
}

impl Line {
    /// `None` for a record that is no call.
    fn tenant(&self) -> Option<Uuid> {
        self.call.get("tenant_id")?.as_str()?.parse().ok()
    }
}

impl Spool {
    /// Keeps a row that the database refuses, with the reason; on the disk when it returns.
    pub(crate) fn reject(&self, row: &impl serde::Serialize, reason: &str) -> io::Result<()> {
        let mut line =
            serde_json::to_vec(&serde_json::json!({ "at": self.shared.clock.now(), "reason": reason, "call": row }))?;
        line.push(b'\n');
        let _held = self.shared.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = OpenOptions::new().create(true).append(true).open(self.directory().join(REJECTED))?;
        file.write_all(&line)?;
        file.sync_all()?;
        self.shared.ledger().counts.rejected += 1;
        Ok(())
    }

    /// The tenants that have rows among those refused, of this server and of the others on this machine.
    pub(crate) fn rejected_tenants(&self) -> io::Result<BTreeSet<Uuid>> {
        let mut found = BTreeSet::new();
        for directory in self.shared.slot.all()? {
            for line in lines(&directory)? {
                found.extend(serde_json::from_str::<Line>(&line?).ok().and_then(|line| line.tenant()));
            }
        }
        Ok(found)
    }

    /// Removes the rows of these tenants, and whatever has lain there since before: from this server's directory and from those that no
    /// process has. Gives how many rows went.
    pub(crate) fn forget(&self, tenants: &BTreeSet<Uuid>, before: DateTime<Utc>) -> io::Result<u64> {
        let mut removed = 0;
        for directory in self.shared.slot.all()? {
            if directory == self.directory() {
                let _held = self.shared.beside.lock().unwrap_or_else(PoisonError::into_inner);
                removed += prune(&directory, tenants, before)?;
                self.shared.ledger().counts.rejected = rejected(&directory)?;
            } else if let Some(slot) = Slot::retake(&directory)? {
                let pruned = prune(&slot.path, tenants, before);
                slot.unlock();
                removed += pruned?;
            }
        }
        Ok(removed)
    }
}

/// How many rows lie there that were refused.
pub(super) fn rejected(directory: &Path) -> io::Result<u64> {
    Ok(lines(directory)?.count() as u64)
}

fn lines(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let file = match File::open(directory.join(REJECTED)) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
    Ok(lines.map(|line| line.map(|line| String::from_utf8_lossy(&line).into_owned())))
}

fn prune(directory: &Path, tenants: &BTreeSet<Uuid>, before: DateTime<Utc>) -> io::Result<u64> {
    for path in damaged(directory)? {
        if DateTime::<Utc>::from(fs::metadata(&path)?.modified()?) < before {
            fs::remove_file(path)?;
        }
    }
    // Whose it is and since when it is there nobody knows of a line that was torn.
    let stays = |line: &str| {
        serde_json::from_str::<Line>(line)
            .is_ok_and(|line| line.at >= before && line.tenant().is_none_or(|tenant| !tenants.contains(&tenant)))
    };
    let (mut kept, mut removed) = (0, 0);
    for line in lines(directory)? {
        *(if stays(&line?) { &mut kept } else { &mut removed }) += 1;
    }
    let path = directory.join(REJECTED);
    match (kept, removed) {
        (_, 0) => {}
        (0, _) => fs::remove_file(path)?,
        _ => {
            let new = path.with_extension("new");
            let mut file = BufWriter::new(OpenOptions::new().create(true).write(true).truncate(true).open(&new)?);
            for line in lines(directory)? {
                let line = line?;
                if stays(&line) {
                    writeln!(file, "{line}")?;
                }
            }
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(new, path)?;
            File::open(directory)?.sync_all()?;
        }
    }
    Ok(removed)
}

fn damaged(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == DAMAGED) {
            found.push(path);
        }
    }
    Ok(found)
}
