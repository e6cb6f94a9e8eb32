//! What a benchmark found: a table for people and rows for programs.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    higher_is_better: bool,
    goal: Option<f64>,
    baseline: Option<f64>,
}

impl Row {
    pub(crate) fn higher(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value: rounded(value), unit, higher_is_better: true, goal: None, baseline: None }
    }

    pub(crate) fn lower(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { higher_is_better: false, ..Self::higher(name, value, unit) }
    }

    pub(crate) fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    pub(crate) fn baseline(mut self, baseline: Option<f64>) -> Self {
        self.baseline = baseline.map(rounded);
        self
    }

    fn verdict(&self) -> &'static str {
        match self.goal {
            None => "",
            Some(goal) if self.higher_is_better && self.value >= goal => "reached",
            Some(goal) if !self.higher_is_better && self.value <= goal => "reached",
            Some(_) => "missed",
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// All figures of one benchmark, with what they were measured on.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    facts: Vec<(&'static str, String)>,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = format!("{cores} cores, shared by load, program and PostgreSQL");
        Self { name, facts: vec![("machine", machine)], rows: Vec::new() }
    }

    pub(crate) fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push((name, value.into()));
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints the table and writes the rows to `NAME.json`.
    pub(crate) fn publish(&self, out: &Path) -> anyhow::Result<()> {
        println!("\n{}", self.name);
        for (name, value) in &self.facts {
            println!("  {name}: {value}");
        }
        println!("  {:<34} {:>11} {:<6} {:>8} {:>9}", "", "value", "unit", "goal", "baseline");
        let shown = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v}"));
        for row in &self.rows {
            println!(
                "  {:<34} {:>11} {:<6} {:>8} {:>9} {}",
                row.name,
                row.value,
                row.unit,
                shown(row.goal),
                shown(row.baseline),
                row.verdict()
            );
        }
        std::fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
        let path = out.join(format!("{}.json", self.name));
        std::fs::write(&path, serde_json::to_string_pretty(&self.rows)? + "\n")
            .with_context(|| format!("cannot write `{}`", path.display()))
    }
}
