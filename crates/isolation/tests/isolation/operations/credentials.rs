//! Without a good credential, or of a tenant that is not served, every operation is refused.

use std::time::Duration;

use chrono::TimeDelta;
use isolation::server::{Answer, Tenant, TestServer, actor};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use tenantry_postgres::NewKey;

use super::company::Company;
use super::document::Plane;
use super::{bare, of_plane};

/// Credentials of the right shape and of none that open nothing at all.
async fn useless_credentials(server: &TestServer, tenant: &Tenant) -> Vec<(&'static str, String)> {
    let provisioner = &server.state.provisioner;
    let expired = provisioner.create_key(&tenant.slug, &NewKey::named("expired"), &actor()).await.unwrap();
    let ended = "UPDATE public.tenant_api_keys SET expires_at = now() - interval '1 second' WHERE id = $1";
    server.database.admin().await.execute(ended, &[expired.info.id.as_uuid()]).await.unwrap();
    let revoked = provisioner.create_key(&tenant.slug, &NewKey::named("revoked"), &actor()).await.unwrap();
    provisioner.revoke_key(&tenant.slug, revoked.info.id, &actor()).await.unwrap();
    let operator = server.operator("tess").await;
    let (lookup, secret) = tenant.key.rsplit_once('_').unwrap();
    let flipped = format!("{lookup}_{}{}", if secret.starts_with('a') { "b" } else { "a" }, &secret[1..]);
    let unknown = format!("tnk_{}_{secret}", "q".repeat(lookup.len() - 4));
    vec![
        ("expired", expired.token.expose_secret().to_owned()),
        ("revoked", revoked.token.expose_secret().to_owned()),
        ("operator", operator),
        ("wrong secret", flipped),
        ("unknown", unknown),
        ("cut", tenant.key[..tenant.key.len() - 1].to_owned()),
        ("garbage", "tnk_%27%20OR%201=1".to_owned()),
        ("no key at all", "hunter2".to_owned()),
    ]
}

#[tokio::test]
async fn without_a_good_credential_every_operation_is_refused() {
    let founder = TestServer::start().await;
    let acme = Company::found(&founder, "acme").await;
    let useless = useless_credentials(&founder, &acme.tenant).await;
    let server = TestServer::on(founder.database.clone(), |_| {}).await;
    let before = acme.digests(&server).await;
    let mut unauthorized = 0;
    for operation in of_plane(Plane::Tenant) {
        let nothing = Answer::to(bare(&server, &operation, &acme)).await;
        assert_eq!(nothing.verdict(), (400, "tenant_identifier_required".to_owned()), "{}", operation.id);
        for (header, name) in [
            ("x-tenant-slug", acme.tenant.slug.clone()),
            ("host", acme.tenant.subdomain()),
            ("host", acme.tenant.custom_host()),
        ] {
            let named = Answer::to(bare(&server, &operation, &acme).header(header, name)).await;
            assert_eq!(named.verdict(), (401, "credential_required".to_owned()), "{} {header}", operation.id);
            unauthorized += 1;
        }
        for (what, credential) in &useless {
            let bearer = bare(&server, &operation, &acme).bearer_auth(credential);
            let key = bare(&server, &operation, &acme).header("x-api-key", credential);
            for request in [bearer, key] {
                let answer = Answer::to(request.header("x-tenant-slug", &acme.tenant.slug)).await;
                assert_eq!(answer.verdict(), (401, "invalid_credential".to_owned()), "{} {what}", operation.id);
                assert!(
                    !answer.text.contains(&acme.mark) && !answer.text.contains(credential.as_str()),
                    "{}",
                    answer.text
                );
                assert!(answer.header("www-authenticate").contains("invalid_token"));
                unauthorized += 1;
            }
        }
    }
    assert_eq!(server.state.tenancy.counters().unauthorized(), unauthorized);
    assert_eq!(server.state.tenancy.db().stats().opened, 0, "nobody got as far as a connection");
    assert_eq!(acme.digests(&server).await, before);
}

#[tokio::test]
async fn a_tenant_that_is_not_served_is_refused_everywhere() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let provisioner = &server.state.provisioner;
    for status in ["suspended", "deleted"] {
        match status {
            "suspended" => drop(provisioner.suspend("acme", &actor()).await.unwrap()),
            _ => drop(provisioner.delete("acme", TimeDelta::days(30), &actor()).await.unwrap()),
        }
        until_refused(&server, &acme).await;
        let before = acme.digests(&server).await;
        for operation in of_plane(Plane::Tenant) {
            for naming in [None, Some(acme.tenant.slug.as_str())] {
                let mut request = bare(&server, &operation, &acme).header("x-api-key", &acme.tenant.key);
                if let Some(slug) = naming {
                    request = request.header("x-tenant-slug", slug);
                }
                let answer = Answer::to(request).await;
                assert_eq!(answer.verdict(), (403, "tenant_inactive".to_owned()), "{} {status}", operation.id);
                assert!(answer.text.contains(status) && !answer.text.contains(&acme.mark), "{}", answer.text);
            }
        }
        assert_eq!(acme.digests(&server).await, before);
    }
}

/// Waits until the server has heard that the tenant is not served; how long that takes is measured elsewhere.
pub(super) async fn until_refused(server: &TestServer, company: &Company) {
    let served =
        async || Answer::to(server.by(&company.tenant, Method::GET, "/v1/agents")).await.text.contains("\"data\"");
    for _ in 0..1000 {
        if !served().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the tenant is served for ever");
}
