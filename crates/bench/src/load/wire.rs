//! Requests and answers of HTTP/1.1 on a blocking socket, as far as the load needs them.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::{Call, Method};

/// More than the largest page.
const LARGEST_ANSWER: usize = 256 * 1024;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The text of a request.
pub(crate) fn request(address: SocketAddr, call: &Call, unique: &str, version: i64) -> Vec<u8> {
    let method = match call.method {
        Method::Get => "GET",
        Method::Patch => "PATCH",
        Method::Post | Method::Ask => "POST",
    };
    let mut text = format!("{method} {} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\n", call.path);
    // Writing to a string does not fail.
    if let Some(key) = &call.key {
        let _ = write!(text, "Authorization: Bearer {key}\r\n");
    }
    if let Some(tenant) = &call.tenant {
        let _ = write!(text, "X-Tenant-Slug: {tenant}\r\n");
    }
    if call.method == Method::Post {
        let _ = write!(text, "Idempotency-Key: {unique}\r\n");
    }
    let body = call.body.as_deref().map(|body| {
        let body = body.replace("{unique}", unique);
        if call.method == Method::Patch { body.replace("{version}", &version.to_string()) } else { body }
    });
    if let Some(body) = &body {
        let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    text.push_str(body.as_deref().unwrap_or_default());
    text.into_bytes()
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: vec![0; LARGEST_ANSWER] })
    }

    /// Sends one request. Gives the body of the answer, which must be the success of its method and have a length.
    pub(crate) fn send(&mut self, request: &[u8], method: Method) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request)?;
        let wanted = if method == Method::Post { "HTTP/1.1 201" } else { "HTTP/1.1 200" };
        let (mut filled, mut bounds) = (0, None);
        loop {
            let n = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(n > 0, "the server closed a connection");
            filled += n;
            if bounds.is_none() {
                bounds = head(&self.buffer[..filled], wanted)?;
            }
            let Some((start, end)) = bounds else { continue };
            ensure!(end <= self.buffer.len(), "an answer of {end} bytes");
            if filled < end {
                continue;
            }
            ensure!(filled == end, "more than one answer");
            return Ok(&self.buffer[start..end]);
        }
    }
}

/// Where the body of an answer lies, once its head is there.
fn head(answer: &[u8], wanted: &str) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    if !text.starts_with(wanted) {
        bail!("not a `{wanted}`: {}", String::from_utf8_lossy(answer));
    }
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some((head + 4, head + 4 + length.context("an answer without a length")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_something_is_filled_in() {
        let call = Call {
            method: Method::Patch,
            path: "/x".to_owned(),
            body: Some(r#"{"version":{version},"name":"{unique}"}"#.to_owned()),
            ..Call::default()
        };
        let text = String::from_utf8(request(([127, 0, 0, 1], 80).into(), &call, "u-1", 7)).unwrap();
        assert!(text.starts_with("PATCH /x HTTP/1.1\r\n"));
        assert!(text.ends_with("Content-Length: 26\r\n\r\n{\"version\":7,\"name\":\"u-1\"}"), "{text}");
    }

    #[test]
    fn only_the_wanted_answer_has_a_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(head(answer, "HTTP/1.1 200").unwrap(), Some((38, 40)));
        assert_eq!(head(&answer[..20], "HTTP/1.1 200").unwrap(), None);
        assert!(head(answer, "HTTP/1.1 201").is_err());
    }
}
