//! Which tenant does the request name? Host and header only identify; they prove nothing.

use axum::http::{HeaderMap, HeaderName, header, request::Parts};
use tenantry_core::{NameError, Slug};
use tenantry_postgres::Identified;

use crate::codes;
use crate::config::HttpConfig;
use crate::host::{Host, HostClaim};
use crate::problem::Problem;
use crate::proxy::{Client, forwarded_host};

const X_TENANT_SLUG: HeaderName = HeaderName::from_static("x-tenant-slug");

/// What a request says about its tenant before the registry is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// By subdomain.
    pub(crate) subdomain: Option<Slug>,
    /// By `X-Tenant-Slug`.
    pub(crate) header: Option<Slug>,
    /// A host that may be a tenant's own; the registry knows.
    pub(crate) custom_host: Option<String>,
}

impl Naming {
    /// Reads host and header. Whatever is not a slug ends here, long before SQL.
    pub(crate) fn read(parts: &Parts, client: &Client, config: &HttpConfig) -> Result<Self, Problem> {
        let mut naming = Self { header: slug_header(&parts.headers)?, ..Self::default() };
        let Some(text) = host_of(parts, client)? else { return Ok(naming) };
        let host =
            Host::parse(text).map_err(|_| invalid_host("the host is not a name or address with an optional port"))?;
        if let Host::Name(name) = host {
            match config.base_domains.claim(&name) {
                HostClaim::Tenant(slug) => naming.subdomain = Some(slug),
                // a name without a dot, such as `localhost`, is nobody's custom domain
                HostClaim::Foreign if name.contains('.') => naming.custom_host = Some(name.into_owned()),
                HostClaim::Foreign | HostClaim::Platform => {}
            }
        }
        Ok(naming)
    }

    /// Whether nothing can name a tenant, not even a foreign host that might be one's own.
    pub(crate) const fn is_empty(&self) -> bool {
        self.subdomain.is_none() && self.header.is_none() && self.custom_host.is_none()
    }

    /// Everything that names a tenant, for the registry to compare. `domain_known` says whether the custom host is one.
    pub(crate) fn identified(self, domain_known: bool) -> Vec<Identified> {
        let slugs = [self.subdomain, self.header].into_iter().flatten().map(Identified::Slug);
        slugs.chain(self.custom_host.filter(|_| domain_known).map(Identified::Domain)).collect()
    }
}

/// The header's slug. Two lines are refused even if equal: whoever sends two may hope that we and a proxy read different ones.
fn slug_header(headers: &HeaderMap) -> Result<Option<Slug>, Problem> {
    let mut lines = headers.get_all(X_TENANT_SLUG).into_iter();
    let Some(value) = lines.next() else { return Ok(None) };
    let refuse = || Problem::of(&codes::INVALID_TENANT_IDENTIFIER);
    if lines.next().is_some() {
        return Err(refuse().detail("`X-Tenant-Slug` was sent more than once"));
    }
    let text = value.to_str().map_err(|_| refuse().detail("`X-Tenant-Slug` is not a slug"))?;
    text.parse().map(Some).map_err(|error: NameError| refuse().detail(error.to_string()))
}

/// The host that the caller asked for: a trusted proxy's word, the request target's authority, or `Host`.
fn host_of<'r>(parts: &'r Parts, client: &Client) -> Result<Option<&'r str>, Problem> {
    if client.via_proxy
        && let Some(host) = forwarded_host(&parts.headers)
    {
        return Ok(Some(host));
    }
    let mut lines = parts.headers.get_all(header::HOST).into_iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(invalid_host("`Host` was sent more than once"));
    }
    if let Some(authority) = parts.uri.authority() {
        // RFC 9112 section 3.2.2: an absolute target overrides the header
        return Ok(Some(authority.as_str()));
    }
    line.map(|value| value.to_str().map_err(|_| invalid_host("the host is not text"))).transpose()
}

fn invalid_host(detail: &'static str) -> Problem {
    Problem::of(&codes::INVALID_HOST).detail(detail)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::host::BaseDomains;
    use crate::proxy::TrustedProxies;

    fn read(peer: &str, target: &str, lines: &[(&str, &str)]) -> Result<Naming, &'static str> {
        let config = HttpConfig {
            base_domains: BaseDomains::new(["app.example.com"]).unwrap(),
            trusted_proxies: TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]),
            ..HttpConfig::default()
        };
        let mut request = Request::get(target);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let client = config.trusted_proxies.client(Some(peer.parse().unwrap()), &parts.headers);
        Naming::read(&parts, &client, &config).map_err(|problem| problem.code())
    }

    fn from_host(host: &str) -> Naming {
        read("192.0.2.1:1", "/", &[("host", host)]).unwrap()
    }

    fn subdomain(slug: &str) -> Naming {
        Naming { subdomain: Some(slug.parse().unwrap()), ..Naming::default() }
    }

    fn custom(host: &str) -> Naming {
        Naming { custom_host: Some(host.to_owned()), ..Naming::default() }
    }

    #[test]
    fn subdomains_name_tenants_and_addresses_do_not() {
        assert_eq!(from_host("Acme.App.Example.com:8443"), subdomain("acme"));
        for nobody in
            ["app.example.com", "www.app.example.com", "a.b.app.example.com", "127.0.0.1:8080", "[::1]:80", "localhost"]
        {
            assert_eq!(from_host(nobody), Naming::default(), "{nobody}");
        }
        assert_eq!(from_host("crm.acme.com"), custom("crm.acme.com"));
        assert_eq!(read("192.0.2.1:1", "/", &[]), Ok(Naming::default()));
    }

    #[test]
    fn the_header_must_be_one_slug() {
        let header = |value| read("192.0.2.1:1", "/", &[("x-tenant-slug", value)]);
        assert_eq!(header("acme").unwrap().header, Some("acme".parse().unwrap()));
        for bad in ["", "ACME", "a_b", "acme, globex", "x'; DROP SCHEMA tenant_bob; --", "admin", " "] {
            assert_eq!(header(bad), Err("invalid_tenant_identifier"), "{bad:?}");
        }
        let twice = read("192.0.2.1:1", "/", &[("x-tenant-slug", "acme"), ("x-tenant-slug", "acme")]);
        assert_eq!(twice, Err("invalid_tenant_identifier"));
    }

    #[test]
    fn a_bad_host_is_refused() {
        let lines = [("host", "acme.app.example.com"), ("host", "globex.app.example.com")];
        assert_eq!(read("192.0.2.1:1", "/", &lines), Err("invalid_host"));
        assert_eq!(read("192.0.2.1:1", "/", &[("host", "a b")]), Err("invalid_host"));
        assert_eq!(read("192.0.2.1:1", "http://acme.app.example.com/", &lines[1..]), Ok(subdomain("acme")));
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_another_host() {
        let lines = [("host", "internal.test"), ("x-forwarded-host", "acme.app.example.com")];
        assert_eq!(read("10.0.0.1:1", "/", &lines), Ok(subdomain("acme")));
        assert_eq!(read("192.0.2.1:1", "/", &lines), Ok(custom("internal.test")));
    }

    #[test]
    fn all_names_are_handed_on() {
        let naming = Naming {
            subdomain: Some("acme".parse().unwrap()),
            header: Some("globex".parse().unwrap()),
            custom_host: Some("crm.acme.com".into()),
        };
        let names: Vec<_> = naming.identified(true).iter().map(|i| i.as_str().to_owned()).collect();
        assert_eq!(names, ["acme", "globex", "crm.acme.com"]);
        assert!(custom("crm.acme.com").identified(false).is_empty());
        assert!(!custom("crm.acme.com").is_empty() && Naming::default().is_empty());
    }
}
