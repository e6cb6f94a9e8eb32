//! Answers of every API, as it documents them, read and priced: to the last token and the last digit.
//!
//! `payloads` are our own. `cases.toml` says what each holds, counted by a person; `expected.json` what that costs by `catalogue.toml`,
//! computed by `expected.py`, which shares nothing with this program.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod costs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use metering::usage::{Bounds, Flavour, Reading, StreamReader, Usage, read_body, read_usage};
use metering::{Decimal, UsageSource};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    file: String,
    /// For people.
    #[serde(rename = "why")]
    _why: String,
    api: Flavour,
    status: u16,
    provider: String,
    asked: String,
    asked_tier: Option<String>,
    at: DateTime<Utc>,
    #[serde(default)]
    input_at_most: u64,
    output_at_most: Option<u64>,
    // what is expected
    #[serde(default)]
    usage: Usage,
    source: UsageSource,
    mismatch: bool,
    finished: bool,
    model: Option<String>,
    tier: Option<String>,
    error: Option<String>,
    #[serde(rename = "provider_cost")]
    provider_cost_usd: Option<Decimal>,
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(place(name)).unwrap()
}

fn cases() -> Vec<Case> {
    toml::from_str::<Cases>(&text("cases.toml")).unwrap().case
}

impl Case {
    fn payload(&self) -> Vec<u8> {
        std::fs::read(place("payloads").join(&self.file)).unwrap()
    }

    fn is_stream(&self) -> bool {
        self.file.ends_with(".sse")
    }

    fn read(&self) -> Reading {
        if self.is_stream() {
            self.read_in_pieces(usize::MAX)
        } else {
            read_body(self.api, self.status, &self.payload())
        }
    }

    fn read_in_pieces(&self, size: usize) -> Reading {
        let mut reader = StreamReader::new(self.api);
        self.payload().chunks(size).for_each(|piece| reader.feed(piece));
        reader.finish()
    }
}

#[test]
fn every_payload_is_a_case() {
    let cases = cases();
    assert!(cases.len() >= 60);
    let mut files: Vec<String> = std::fs::read_dir(place("payloads"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut named: Vec<String> = cases.iter().map(|case| case.file.clone()).collect();
    named.sort();
    assert_eq!(files, named);
    for api in Flavour::ALL {
        assert!(cases.iter().any(|case| case.api == *api), "{api}");
    }
}

#[test]
fn what_was_counted_is_read() {
    for case in cases() {
        let (name, reading) = (&case.name, case.read());
        assert_eq!((reading.finished, reading.mismatch), (case.finished, case.mismatch), "{name}: {reading:?}");
        assert_eq!(reading.model, case.model, "{name}");
        assert_eq!(reading.tier(), case.tier, "{name}");
        assert_eq!(reading.provider_cost_usd, case.provider_cost_usd, "{name}");
        let bounds = Bounds { input_at_most: case.input_at_most, output_at_most: case.output_at_most, choices: 1 };
        assert_eq!(reading.usage_within(&bounds), (case.usage.clone(), case.source), "{name}: {reading:?}");
        if let Some(error) = &case.error {
            assert_eq!(reading.error.as_ref(), Some(error), "{name}");
        } else {
            assert_eq!(reading.error.is_some(), case.status >= 400, "{name}: {reading:?}");
        }
    }
}

/// Where a stream is cut into pieces does not matter.
#[test]
fn a_stream_in_pieces_is_the_same_stream() {
    for case in cases().into_iter().filter(Case::is_stream) {
        for size in [1, 2, 7, 64, 1000] {
            assert_eq!(case.read_in_pieces(size), case.read(), "{} in pieces of {size}", case.name);
        }
    }
}

/// However early a stream ends, nobody is charged for less than what it had counted or more than what it counted in the end, where it
/// is bounded; and no part of it makes the reader fail.
#[test]
fn a_stream_may_end_anywhere() {
    for case in cases().into_iter().filter(|case| case.is_stream() && case.source == UsageSource::Reported) {
        let payload = case.payload();
        for end in 0..payload.len() {
            let mut reader = StreamReader::new(case.api);
            reader.feed(&payload[..end]);
            let reading = reader.finish();
            assert!(
                [UsageSource::Reported, UsageSource::Estimated].contains(&reading.source),
                "{} until {end}",
                case.name
            );
            let bounds = Bounds {
                input_at_most: case.usage.tokens_input(),
                output_at_most: Some(case.usage.tokens_output()),
                choices: 1,
            };
            let (usage, _) = reading.usage_within(&bounds);
            assert!(usage.tokens_input() <= case.usage.tokens_input(), "{} until {end}: {usage:?}", case.name);
            assert!(usage.tokens_output() <= case.usage.tokens_output(), "{} until {end}: {usage:?}", case.name);
        }
    }
}

/// A provider's `usage` object by itself counts as it does inside of the answer.
#[test]
fn a_usage_object_alone_is_read_alike() {
    let mut read = 0;
    for case in cases().into_iter().filter(|case| case.file.ends_with(".json") && case.source == UsageSource::Reported)
    {
        let body: serde_json::Value = serde_json::from_slice(&case.payload()).unwrap();
        let (alone, whole) = (read_usage(case.api, &body["usage"]), case.read());
        let units_of_body = case.api == Flavour::OpenAiResponses && !whole.usage.units.is_empty();
        let whole = if units_of_body { Usage { units: BTreeMap::new(), ..whole.usage } } else { whole.usage };
        assert_eq!((alone.usage, alone.source), (whole, UsageSource::Reported), "{}", case.name);
        read += 1;
    }
    assert!(read > 40, "{read}");
}

/// The committed figures are what the other program computes now.
#[test]
fn the_expected_figures_are_current() {
    let python = std::process::Command::new("python3").arg(place("expected.py")).arg("--check").output();
    match python {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "only a machine without Python skips this")
        }
    }
}
