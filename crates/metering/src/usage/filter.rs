//! The gateway asks every stream of a chat for its counts. A client that did not ask must not see them: some break on a chunk
//! without choices.

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use super::stream::is_usage_chunk;

/// A chunk of counts is not longer; what is longer goes on as it comes.
const LONGEST: usize = 64 * 1024;

/// Hands on the bytes of a stream as they are, but for the one event that holds counts and no choices. An event is held until its
/// end is there, which is how servers send them anyway.
#[derive(Debug, Default)]
pub struct UsageChunkFilter {
    held: Vec<u8>,
    /// Up to where the held bytes were looked through.
    seen: usize,
    /// The line under way has something in it.
    in_line: bool,
    after_return: bool,
    /// The event under way is too long to be the one, and has gone out in part.
    passing: bool,
}

impl UsageChunkFilter {
    /// Takes bytes, cut anywhere, and gives those that go on.
    pub fn feed(&mut self, bytes: &[u8]) -> Bytes {
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(self.held.len());
        let mut begin = 0;
        while let Some(end) = self.next_end() {
            let event = &self.held[begin..end];
            if self.passing || !holds_counts_only(event) {
                out.extend_from_slice(event);
            }
            self.passing = false;
            begin = end;
        }
        if self.passing || self.held.len() - begin > LONGEST {
            out.extend_from_slice(&self.held[begin..]);
            begin = self.held.len();
            self.passing = true;
        }
        self.held.drain(..begin);
        self.seen -= begin;
        out.into()
    }

    /// What is left when the stream has ended.
    #[must_use]
    pub fn finish(self) -> Bytes {
        if !self.passing && holds_counts_only(&self.held) { Bytes::new() } else { self.held.into() }
    }

    /// Where the event ends that is under way, behind the empty line.
    fn next_end(&mut self) -> Option<usize> {
        while let Some(byte) = self.held.get(self.seen) {
            self.seen += 1;
            let second_half = std::mem::replace(&mut self.after_return, *byte == b'\r') && *byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' if std::mem::take(&mut self.in_line) => {}
                b'\n' | b'\r' => {
                    if *byte == b'\r' && self.held.get(self.seen) == Some(&b'\n') {
                        self.after_return = false;
                        self.seen += 1;
                    }
                    return Some(self.seen);
                }
                _ => self.in_line = true,
            }
        }
        None
    }
}

fn holds_counts_only(event: &[u8]) -> bool {
    if memmem::find(event, b"\"usage\"").is_none() {
        return false;
    }
    let lines = event.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| line.strip_prefix(b"data:"));
    let data = lines.collect::<Vec<_>>().join(&b'\n');
    serde_json::from_slice::<Value>(&data).is_ok_and(|chunk| is_usage_chunk(&chunk))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEFORE: &str = ": hi\n\ndata: {\"choices\":[],\"prompt_filter_results\":[]}\n\ndata: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n";
    const COUNTS: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    const AFTER: &str = "event: x\ndata: {\"usage\":{}}\n\ndata: [DONE]\n\ndata: unfinished";

    fn filter<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut filter = UsageChunkFilter::default();
        let mut out: Vec<u8> = pieces.into_iter().flat_map(|piece| filter.feed(piece)).collect();
        out.extend(filter.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_counts_are_left_out() {
        let whole = format!("{BEFORE}{COUNTS}{AFTER}");
        assert_eq!(filter([whole.as_bytes()]), format!("{BEFORE}{AFTER}"));
        let windows = whole.replace('\n', "\r\n");
        assert_eq!(filter([windows.as_bytes()]), format!("{BEFORE}{AFTER}").replace('\n', "\r\n"));
        assert_eq!(filter([COUNTS.trim_end().as_bytes()]), "", "also when the last line does not end");
    }

    #[test]
    fn a_long_event_is_not_held() {
        let mut filter = UsageChunkFilter::default();
        let mut out = filter.feed(b"data: ").len();
        for _ in 0..10 {
            out += filter.feed(&[b'x'; 20_000]).len();
            assert!(filter.held.len() <= LONGEST);
        }
        out += filter.feed(b"\n\n").len();
        assert_eq!(out, 200_008);
        assert_eq!(filter.feed(COUNTS.as_bytes()), "", "and the next one is looked at again");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(size in 1_usize..120) {
            let whole = format!("{BEFORE}{COUNTS}{AFTER}");
            prop_assert_eq!(filter(whole.as_bytes().chunks(size)), format!("{BEFORE}{AFTER}"));
        }

        #[test]
        fn what_holds_no_counts_is_handed_on_as_it_is(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..40) {
            let mut filter = UsageChunkFilter::default();
            let mut out: Vec<u8> = bytes.chunks(size).flat_map(|piece| filter.feed(piece)).collect();
            out.extend(filter.finish());
            prop_assert_eq!(out, bytes);
        }
    }
}
