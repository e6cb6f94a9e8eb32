//! A trace: when calls began, and how many tokens they had.

use std::path::Path;

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, TimeDelta, Utc};

use super::ReplayError;

/// What columns are called, by those who publish traces.
const TIMES: &[&str] = &["timestamp", "time", "arrived_at", "arrival_timestamp"];
const INPUTS: &[&str] = &["contexttokens", "tokens_input", "input_tokens", "prompt_tokens", "num_prefill_tokens"];
const OUTPUTS: &[&str] =
    &["generatedtokens", "tokens_output", "output_tokens", "completion_tokens", "num_decode_tokens"];

/// Which columns to read; those that are not named are found by what they are usually called.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// When the call began.
    pub time: Option<String>,
    /// Tokens of its input.
    pub input: Option<String>,
    /// Tokens of its output.
    pub output: Option<String>,
}

/// A line of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 0; the line of names is none.
    pub number: u64,
    /// How long after the first.
    pub after: TimeDelta,
    /// Tokens of its input.
    pub input: u64,
    /// Tokens of its output.
    pub output: u64,
}

/// A whole trace.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Its lines, as the file has them.
    pub lines: Vec<Line>,
    /// The file's content.
    pub(super) text: Vec<u8>,
}

impl Trace {
    /// Reads a CSV file with a line of names. A line's time is RFC 3339, or a date and a time without a zone, which is UTC then.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn read(path: &Path, columns: &Columns) -> Result<Self, ReplayError> {
        let text = std::fs::read(path).map_err(|source| ReplayError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(text, columns)
    }

    /// How long after the first line the latest one is.
    #[must_use]
    pub fn length(&self) -> TimeDelta {
        self.lines.iter().map(|line| line.after).max().unwrap_or_default()
    }

    pub(super) fn parse(text: Vec<u8>, columns: &Columns) -> Result<Self, ReplayError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_slice());
        let names = reader.headers().map_err(|error| ReplayError::Csv(error.to_string()))?.clone();
        let find = |what: &'static str, named: &Option<String>, usual: &[&str]| {
            let is_it = |name: &str| match named {
                Some(named) => name == named,
                None => usual.contains(&name.to_lowercase().as_str()),
            };
            names.iter().position(is_it).ok_or_else(|| ReplayError::NoColumn {
                what,
                name: named.clone(),
                has: names.iter().map(str::to_owned).collect(),
            })
        };
        let time = find("time", &columns.time, TIMES)?;
        let input = find("input", &columns.input, INPUTS)?;
        let output = find("output", &columns.output, OUTPUTS)?;
        let (mut lines, mut first) = (Vec::new(), None);
        for (number, record) in (0..).zip(reader.records()) {
            let record = record.map_err(|error| ReplayError::Csv(error.to_string()))?;
            let field = |at: usize| record.get(at).unwrap_or_default();
            let wrong = |at: usize| ReplayError::Line { number: number + 2, value: field(at).to_owned() };
            let count = |at: usize| field(at).parse::<u64>().map_err(|_| wrong(at));
            let at = instant(field(time)).ok_or_else(|| wrong(time))?;
            let after = at - *first.get_or_insert(at);
            lines.push(Line { number, after, input: count(input)?, output: count(output)? });
        }
        if lines.is_empty() {
            return Err(ReplayError::Csv("it has no lines".to_owned()));
        }
        Ok(Self { lines, text })
    }
}

/// The database has microseconds.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok().or_else(|| {
        ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|wall| wall.and_utc())
    })?;
    Some(at.trunc_subsecs(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Trace, ReplayError> {
        Trace::parse(text.as_bytes().to_vec(), &Columns::default())
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let trace = parse("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805901,374,44\n2023-11-16 18:15:50.9951690,396,109")
            .unwrap();
        assert_eq!(trace.lines[0], Line { number: 0, after: TimeDelta::zero(), input: 374, output: 44 });
        assert_eq!((trace.lines[1].after, trace.length()), (TimeDelta::microseconds(4_314_579), trace.lines[1].after));
        let trace = parse("output_tokens, input_tokens, time\n1, 2, 2026-11-24T10:00:00+01:00\n").unwrap();
        assert_eq!((trace.lines[0].input, trace.lines[0].output), (2, 1));
        let named = Columns { time: Some("t".into()), input: Some("a".into()), output: Some("b".into()) };
        assert!(Trace::parse(b"t,a,b\n2026-11-24 10:00:00,1,2\n".to_vec(), &named).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("when,input_tokens,output_tokens\n").contains("column"));
        assert!(error("time,input_tokens,output_tokens\n").contains("no lines"));
        let wrong = error("time,input_tokens,output_tokens\n2026-11-24 10:00:00,1,x\n");
        assert!(wrong.contains("line 2") && wrong.contains("`x`"), "{wrong}");
    }
}
