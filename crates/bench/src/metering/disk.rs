//! What the disk allows: a call is twice on it before its answer has ended, so twice this is the least that it can take.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::Instant;

use crate::stats::percentile;

const WRITES: usize = 500;
/// About a record.
const BYTES: usize = 1024;
/// Filled beforehand, as the spool's files are: a write then changes no size.
const FILE: usize = 4 << 20;

/// Milliseconds that a small write takes to be on disk, half of them at most.
pub(super) fn sync_ms(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join("sync");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; FILE])?;
    file.sync_all()?;
    file.rewind()?;
    let record = vec![1; BYTES];
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(path)?;
    Ok(percentile(&times, 0.5))
}
