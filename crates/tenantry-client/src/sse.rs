//! The `text/event-stream` of the HTML standard, section 9.2.6, from bytes as they arrive.

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) event: String,
    pub(crate) data: String,
}

/// What is left of a stream between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    rest: Vec<u8>,
    block: Block,
    /// The last id that was told, also by a block without data.
    pub(crate) last_id: Option<String>,
    /// How long to wait before connecting anew, in milliseconds.
    pub(crate) retry: Option<u64>,
}

impl Parser {
    /// Takes a chunk and gives the events that are whole with it. A line ends with LF or CR LF.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Vec<Block> {
        self.rest.extend_from_slice(chunk);
        let mut blocks = Vec::new();
        let mut at = 0;
        while let Some(length) = self.rest[at..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[at..at + length]).trim_end_matches('\r').to_owned();
            at += length + 1;
            if line.is_empty() {
                let block = std::mem::take(&mut self.block);
                if !block.data.is_empty() {
                    blocks.push(block);
                }
            } else {
                self.line(&line);
            }
        }
        self.rest.drain(..at);
        blocks
    }

    /// Forgets what a lost connection left unfinished.
    pub(crate) fn restart(&mut self) {
        self.rest.clear();
        self.block = Block::default();
    }

    fn line(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.block.event),
            "data" => {
                if !self.block.data.is_empty() {
                    self.block.data.push('\n');
                }
                self.block.data.push_str(value);
            }
            "id" => self.last_id = Some(value.to_owned()),
            "retry" => self.retry = value.parse().ok(),
            // a comment, or what a later version of the format has
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\nid: 4\nretry: 2000\n\nevent: task.updated\r\nid: 5\r\ndata: {\"ä\":1}\r\n\r\n:\n\nevent:end\ndata:a\ndata: b\n\n";

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let blocks: Vec<Block> = STREAM.as_bytes().chunks(size).flat_map(|chunk| parser.take(chunk)).collect();
            let expected = [("task.updated", "{\"ä\":1}"), ("end", "a\nb")];
            let found: Vec<_> = blocks.iter().map(|block| (block.event.as_str(), block.data.as_str())).collect();
            assert_eq!(found, expected, "in chunks of {size}");
            assert_eq!((parser.last_id.as_deref(), parser.retry), (Some("5"), Some(2000)));
        }
    }

    #[test]
    fn half_an_event_is_none() {
        let mut parser = Parser::default();
        assert!(parser.take(b"event: task.updated\ndata: {").is_empty());
        parser.restart();
        assert_eq!(parser.take(b"data: 1\n\n"), [Block { event: String::new(), data: "1".into() }]);
    }
}
