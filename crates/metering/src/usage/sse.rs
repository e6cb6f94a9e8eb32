//! Events of a stream (`text/event-stream`), taken out of bytes that come in any pieces.

use memchr::memchr2;

/// What is kept of one line or of one event's data. Of longer ones only the beginning and the end stay.
const MOST: usize = 1024 * 1024;
const HEAD: usize = 4 * 1024;
const TAIL: usize = 64 * 1024;

/// Puts events together. Only their data is kept: every API says in it what kind of event it is.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The middle of the event was dropped.
    cut: bool,
    /// The line before ended with a carriage return, so a line feed that follows belongs to it.
    after_return: bool,
    begun: bool,
}

/// The data of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) data: &'a [u8],
    /// It was too long: its middle is missing.
    pub(super) cut: bool,
}

impl Events {
    /// Takes bytes and gives the events that end in them.
    pub(super) fn feed(&mut self, mut chunk: &[u8], mut on: impl FnMut(Event<'_>)) {
        if self.after_return && !chunk.is_empty() {
            self.after_return = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = chunk.split_at(end);
            if self.line.is_empty() {
                self.end_line(line, &mut on);
            } else {
                self.cut |= keep(&mut self.line, line);
                let whole = std::mem::take(&mut self.line);
                self.end_line(&whole, &mut on);
                self.line = whole;
                self.line.clear();
            }
            let after = &rest[1..];
            chunk = match (rest[0], after.first()) {
                (b'\r', Some(b'\n')) => &after[1..],
                (b'\r', None) => {
                    self.after_return = true;
                    after
                }
                _ => after,
            };
        }
        self.cut |= keep(&mut self.line, chunk);
    }

    /// Gives the event that the stream ended in the middle of: its data may be whole all the same.
    pub(super) fn finish(mut self, mut on: impl FnMut(Event<'_>)) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, &mut on);
        }
        self.end_event(&mut on);
    }

    fn end_line(&mut self, line: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let line = if self.begun { line } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            return self.end_event(on);
        }
        // Comments begin with a colon; other fields say nothing that the data does not.
        let Some(value) = line.strip_prefix(b"data:") else { return };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.cut |= keep(&mut self.data, value);
    }

    fn end_event(&mut self, on: &mut impl FnMut(Event<'_>)) {
        if self.has_data {
            on(Event { data: &self.data, cut: self.cut });
        }
        self.data.clear();
        (self.has_data, self.cut) = (false, false);
    }
}

/// Appends, within bounds; says whether something was dropped.
fn keep(buffer: &mut Vec<u8>, mut more: &[u8]) -> bool {
    let mut dropped = false;
    while !more.is_empty() {
        let (now, later) = more.split_at(more.len().min(MOST.saturating_sub(buffer.len()).max(1)));
        buffer.extend_from_slice(now);
        more = later;
        if buffer.len() > MOST {
            buffer.drain(HEAD..buffer.len() - TAIL);
            dropped = true;
        }
    }
    dropped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut found = Vec::new();
        let mut events = Events::default();
        for chunk in chunks {
            events.feed(chunk, |event| found.push(String::from_utf8_lossy(event.data).into_owned()));
        }
        events.finish(|event| found.push(String::from_utf8_lossy(event.data).into_owned()));
        found
    }

    #[test]
    fn lines_end_in_three_ways() {
        for end in ["\n", "\r\n", "\r"] {
            let text =
                [": hello", "event: x", "data: one", "data:two", "id: 3", "", "", "data", "data: ", "", "data:  x"]
                    .join(end);
            assert_eq!(events([text.as_bytes()]), ["one\ntwo", "", " x"], "{end:?}");
        }
        assert_eq!(events([&b"\xEF\xBB\xBFdata: x\n\n"[..]]), ["x"]);
        assert_eq!(events([&b""[..]]), Vec::<String>::new());
    }

    #[test]
    fn an_event_that_is_too_long_keeps_its_ends() {
        let mut events = Events::default();
        let mut seen = None;
        let mut see = |event: Event<'_>| seen = Some((event.data.len(), event.cut, event.data.ends_with(b"tail")));
        events.feed(b"data: head", &mut see);
        for _ in 0..40 {
            events.feed(&vec![b'x'; 100_000], &mut see);
            assert!(events.line.len() <= MOST + 1);
        }
        events.feed(b"tail\n\n", &mut see);
        let (length, cut, ends) = seen.unwrap();
        assert!(length <= MOST && cut && ends);
        events.feed(b"data: x\n\n", |event| assert!(!event.cut, "the next one is whole"));
    }

    proptest! {
        /// Where the bytes are cut does not matter.
        #[test]
        fn pieces_are_put_together(
            text in "((data: ?[a-z]{0,4}|:x|event: e|)(\n|\r\n|\r)){0,12}", cuts in proptest::collection::vec(0_usize..80, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(events(pieces), events([bytes]));
        }
    }
}
