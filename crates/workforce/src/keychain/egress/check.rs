//! What callers write into requests, checked before anything is sent.

use reqwest::Url;
use reqwest::header::HeaderName;

const MAX_SERVICE: usize = 200;
const MAX_PATH: usize = 4096;

/// Headers that belong to a connection (RFC 9110, section 7.6.1), to whoever builds the request, or to proxies, and those that
/// would change what is asked or whom.
const NOT_THE_CALLERS: [&str; 16] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    "forwarded",
    "via",
    "accept-encoding",
    "cookie",
];

/// Whether a header is one of the connection, which is not passed on in either direction.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    NOT_THE_CALLERS[..9].contains(&name)
}

/// A service: a host name, with a port if it is not 443.
///
/// # Errors
/// What is wrong with it.
pub fn check_service(service: &str) -> Result<(), &'static str> {
    const WRONG: &str = "must be a public host name such as `api.example.com`, with a port if it is not 443";
    let url = url(service, "/").ok_or(WRONG)?;
    let (host, port) = service.rsplit_once(':').map_or((service, None), |(host, port)| (host, Some(port)));
    let labels: Vec<&str> = host.split('.').collect();
    let label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let letters = labels.last().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
    let port_is_written_plainly =
        port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0 && n.to_string() == port));
    // What the library that sends the request makes of it must be what is written: no number that is an address, nothing
    // before an `@`.
    let same = url.host_str() == Some(&host.to_ascii_lowercase()) && url.domain().is_some();
    let fine = service.len() <= MAX_SERVICE
        && labels.len() > 1
        && labels.iter().all(label)
        && letters
        && port_is_written_plainly
        && same;
    if fine { Ok(()) } else { Err(WRONG) }
}

/// Path and query of a request.
///
/// # Errors
/// What is wrong with it.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    const WRONG: &str =
        "must be a path with a query if needed, such as `/v1/things?limit=5`, of at most 4096 visible ASCII characters";
    let fine = path.starts_with('/')
        && path.len() <= MAX_PATH
        && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#'));
    if fine && url("host.example", path).is_some() { Ok(()) } else { Err(WRONG) }
}

/// A header that a caller may set.
///
/// # Errors
/// What is wrong with it.
pub fn check_header_name(name: &str) -> Result<(), &'static str> {
    let lower = name.to_ascii_lowercase();
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("must be the name of a header");
    }
    if NOT_THE_CALLERS.contains(&lower.as_str()) || lower.starts_with("x-forwarded-") || lower.starts_with("proxy-") {
        return Err("is a header of the connection or of proxies, which the server sets itself");
    }
    Ok(())
}

/// The address of a request: nothing in `path` can lead to another host than the service's.
pub(super) fn url(service: &str, path: &str) -> Option<Url> {
    let origin = Url::parse(&format!("https://{service}/")).ok()?;
    let url = Url::parse(&format!("https://{service}{path}")).ok()?;
    let fine = origin.path() == "/"
        && origin.query().is_none()
        && origin.fragment().is_none()
        && url.origin() == origin.origin()
        && url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    fine.then_some(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ways to write an address, or another host, into a service.
    pub(crate) const HOSTILE: [&str; 34] = [
        "",
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "::1",
        "169.254.169.254",
        "169.254.43518",
        "api.example.com@127.0.0.1",
        "user:pass@api.example.com",
        "127.0.0.1:443@api.example.com",
        "api.example.com/../",
        "api.example.com/x",
        "api.example.com?x",
        "api.example.com#x",
        "api.example.com\\@evil.example",
        "api.example.com:99999",
        "api.example.com:0443",
        "api.example.com:0",
        "api.example.com:",
        "api..example.com",
        "api.example.com.",
        "api.example.com%2eevil.example",
        "ⓛocalhost.example",
        "api example.com",
        "１２７.0.0.1",
    ];

    #[test]
    fn services_are_names_and_nothing_else() {
        for fine in [
            "api.example.com",
            "API.Example.com",
            "a-b.example",
            "api.example.com:8443",
            "1.example",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(check_service(fine), Ok(()), "{fine}");
        }
        for hostile in HOSTILE {
            assert!(check_service(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn paths_stay_at_the_service() {
        for fine in ["/", "/v1/x?y=1&z=%20", "/@x", "//evil.example/x", "/a:b", "/../../x"] {
            assert_eq!(check_path(fine), Ok(()), "{fine}");
            assert_eq!(url("api.example.com:8443", fine).unwrap().host_str(), Some("api.example.com"));
        }
        for bad in [
            "",
            "x",
            "https://evil.example/",
            "@evil.example/",
            ":80/",
            ".evil.example/",
            "/a b",
            "/a\r\nb",
            "/a\\b",
            "/#x",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_not_the_callers() {
        for fine in ["Accept", "Content-Type", "X-Api-Version", "Authorization"] {
            assert_eq!(check_header_name(fine), Ok(()), "{fine}");
        }
        for bad in ["Host", "Connection", "TE", "Content-Length", "X-Forwarded-For", "Proxy-Anything", "a b", "", "a:"]
        {
            assert!(check_header_name(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_service(path in "/[ -~]{0,60}") {
            if check_path(&path).is_ok() {
                let url = url("api.example.com", &path).unwrap();
                prop_assert_eq!(url.host_str(), Some("api.example.com"));
                prop_assert_eq!(url.port_or_known_default(), Some(443));
            }
        }

        #[test]
        fn an_accepted_service_is_the_host_that_is_asked(service in "[a-z0-9.:@/\\\\%\\[\\]-]{1,40}") {
            if check_service(&service).is_ok() {
                let host = service.rsplit_once(':').map_or(service.as_str(), |(host, _)| host);
                let url = url(&service, "/").unwrap();
                prop_assert_eq!(url.domain(), Some(host));
            }
        }
    }
}
