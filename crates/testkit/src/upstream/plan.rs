use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// What a model's name asks for: words behind the name, each after a `+`, as in `gpt-4o-mini+cache+delay-50`.
///
/// * `error-<status>`: that error. `busy-<n>`: 429 for the first so many requests with the name, then an answer.
/// * `delay-<ms>`: a pause before anything; `pace-<ms>`: one before every event. `hang`: no answer. `drop`: the connection breaks instead.
/// * `cut-<n>`: a stream breaks behind so many events, an answer in one piece in its middle. `failing`: a stream ends with an error.
/// * `tokens-<n>`: so much output. `cache`, `reasoning`: part of the tokens. `tools`: a call of a tool. `nousage`: no counts.
/// * `odd`: a stream comes in pieces that end anywhere.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The name before the words.
    pub model: String,
    pub(super) error: Option<u16>,
    pub(super) busy: u64,
    pub(super) delay: Option<Duration>,
    pub(super) pace: Option<Duration>,
    pub(super) hang: bool,
    pub(super) drop: bool,
    pub(super) cut: Option<usize>,
    pub(super) failing: bool,
    pub(super) tools: bool,
    pub(super) counts: bool,
    pub(super) odd: bool,
    /// What it uses.
    pub tokens: Tokens,
}

/// What a call uses, as the provider bills it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// All input.
    pub input: u64,
    /// Of it, read from a cache.
    pub cache_read: u64,
    /// All output.
    pub output: u64,
    /// Of it, reasoning.
    pub reasoning: u64,
}

impl Plan {
    /// Reads the name in a request of so many bytes.
    #[must_use]
    pub fn of(request: &Value, bytes: usize) -> Self {
        let name = request["model"].as_str().unwrap_or_default();
        let mut words = name.split('+');
        let model = words.next().unwrap_or_default().to_owned();
        let input = u64::try_from(bytes / 4 + 1).unwrap_or(1);
        let output = if request.get("input").is_some() && model.contains("embedding") { 0 } else { 12 };
        let tokens = Tokens { input, output, ..Tokens::default() };
        let mut plan = Self { model, counts: true, tokens, ..Self::default() };
        for word in words {
            plan.take(word);
        }
        plan
    }

    fn take(&mut self, word: &str) {
        let (word, number) = word.rsplit_once('-').map_or((word, 0), |(word, n)| (word, n.parse::<u64>().unwrap_or(0)));
        let pause = Duration::from_millis(number);
        match word {
            "error" => self.error = u16::try_from(number).ok(),
            "busy" => self.busy = number,
            "delay" => self.delay = Some(pause),
            "pace" => self.pace = Some(pause),
            "hang" => self.hang = true,
            "drop" => self.drop = true,
            "cut" => self.cut = usize::try_from(number).ok(),
            "failing" => self.failing = true,
            "tools" => self.tools = true,
            "nousage" => self.counts = false,
            "odd" => self.odd = true,
            "tokens" => self.tokens.output = number,
            "cache" => self.tokens.cache_read = self.tokens.input / 2,
            "reasoning" => self.tokens.reasoning = 5.min(self.tokens.output),
            _ => {}
        }
    }

    /// The text, a word for each token that is no reasoning.
    pub(super) fn words(&self) -> Vec<String> {
        (self.tokens.reasoning..self.tokens.output).map(|n| format!("w\u{f6}rd{n} ")).collect()
    }
}
