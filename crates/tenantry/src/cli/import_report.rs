//! What became of each tenant of an import, in a file of its own: written line by line and to the disk each, so that an import
//! that was killed knows how far it came. It holds keys, so only its owner may read it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::CliError;

const HEADER: [&str; 5] = ["slug", "status", "id", "key", "note"];

/// A step of one tenant's import; the last line of a tenant counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is about to be made: after a kill nobody knows whether it was.
    Started,
    /// It is made, and its first key is here.
    Created,
    /// It was there before the import.
    Exists,
    /// It was not made.
    Failed,
}

impl Step {
    const ALL: [Self; 4] = [Self::Started, Self::Created, Self::Exists, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Created => "created",
            Self::Exists => "exists",
            Self::Failed => "failed",
        }
    }
}

/// The report of a file.
#[derive(Debug)]
pub(super) struct Report {
    file: File,
    path: PathBuf,
    /// The last step of each tenant, from earlier runs.
    pub(super) steps: HashMap<String, Step>,
}

impl Report {
    /// `FILE.csv.report.csv`.
    pub(super) fn path_for(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".report.csv");
        name.into()
    }

    /// Opens the report of an import, which may have been begun before. A line that was cut off is removed. Two imports of one file at once are refused.
    pub(super) fn open(path: PathBuf) -> Result<Self, CliError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| cannot("open", &path, &error))?;
        if file.try_lock().is_err() {
            return Err(CliError::usage(format!("another import is writing `{}`", path.display())));
        }
        let mut text = String::new();
        file.set_permissions(Permissions::from_mode(0o600))
            .and_then(|()| file.read_to_string(&mut text))
            .map_err(|error| cannot("read", &path, &error))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| cannot("write", &path, &error))?;
        let steps = steps(&text[..whole], &path)?;
        let mut report = Self { file, path, steps };
        if whole == 0 {
            report.append(&HEADER)?;
        }
        Ok(report)
    }

    /// Writes a step, and waits until the disk has it.
    pub(super) fn write(&mut self, slug: &str, step: Step, id: &str, key: &str, note: &str) -> Result<(), CliError> {
        self.append(&[slug, step.as_str(), id, key, note])
    }

    fn append(&mut self, fields: &[&str; 5]) -> Result<(), CliError> {
        let mut line = csv::Writer::from_writer(Vec::new());
        let text = line.write_record(fields).ok().and_then(|()| line.into_inner().ok()).unwrap_or_default();
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| cannot("write", &self.path, &error))
    }
}

fn steps(text: &str, path: &Path) -> Result<HashMap<String, Step>, CliError> {
    let other = || {
        CliError::usage(format!("`{}` is not the report of an import", path.display()))
            .hint("move it away, or rename the file that is imported")
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut steps = HashMap::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(|_| other())?;
        if number == 0 {
            if record.iter().ne(HEADER) {
                return Err(other());
            }
            continue;
        }
        let step = Step::ALL.into_iter().find(|step| Some(step.as_str()) == record.get(1)).ok_or_else(other)?;
        steps.insert(record.get(0).unwrap_or_default().to_owned(), step);
    }
    Ok(steps)
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("cannot {verb} the report `{}`: {error}", path.display()))
}
