//! A client of server-sent events.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::Value;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A stream being read.
#[derive(Debug)]
pub struct Stream {
    response: reqwest::Response,
    text: String,
    frames: VecDeque<Frame>,
}

/// What stands between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// `id`.
    pub id: Option<i64>,
    /// `event`.
    pub event: Option<String>,
    /// `data`.
    pub data: Option<String>,
}

impl Frame {
    fn parse(text: &str) -> Self {
        let mut frame = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => frame.id = value.parse().ok(),
                "event" => frame.event = Some(value.to_owned()),
                "data" => frame.data = Some(value.to_owned()),
                _ => {}
            }
        }
        frame
    }

    /// The data as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        self.data.as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default()
    }
}

impl Stream {
    /// Opens a stream.
    ///
    /// # Panics
    /// When the answer is none.
    pub async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(status, 200, "{}", response.text().await.unwrap_or_default());
        assert_eq!(headers["content-type"], "text/event-stream");
        Self { response, text: String::new(), frames: VecDeque::new() }
    }

    /// The next frame, `None` at the end.
    ///
    /// # Panics
    /// When the stream breaks, or neither comes in time.
    pub async fn frame(&mut self) -> Option<Frame> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a frame comes in time")
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            let chunk = self.response.chunk().await.expect("the stream ends in good order")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("the stream is text"));
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                self.frames.push_back(Frame::parse(frame));
                self.text = rest.to_owned();
            }
        }
    }

    /// The next frame that is an event, `None` at the end.
    pub async fn event(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.event.is_some() {
                return Some(frame);
            }
        }
    }

    /// The next event of this name; others are passed over.
    ///
    /// # Panics
    /// When the stream ends before it.
    pub async fn until(&mut self, event: &str) -> Frame {
        loop {
            let frame = self.event().await.unwrap_or_else(|| panic!("the stream ended before `{event}`"));
            if frame.event.as_deref() == Some(event) {
                return frame;
            }
        }
    }

    /// Every event that comes within a time.
    pub async fn within(&mut self, time: Duration) -> Vec<Frame> {
        let mut events = Vec::new();
        let end = tokio::time::Instant::now() + time;
        while let Ok(Some(frame)) = tokio::time::timeout_at(end, self.read()).await {
            if frame.event.is_some() {
                events.push(frame);
            }
        }
        events
    }

    /// The reason of the last event, and that it is the last.
    ///
    /// # Panics
    /// When something follows.
    pub async fn end(&mut self) -> String {
        let end = self.until("end").await;
        assert_eq!(self.frame().await, None, "nothing follows the end");
        end.json()["reason"].as_str().unwrap_or_default().to_owned()
    }
}
