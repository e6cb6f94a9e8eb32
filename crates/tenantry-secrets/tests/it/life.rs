//! From a tenant's first secret to the end of its key.

use chrono::{DateTime, TimeDelta};
use futures_util::future::join_all;
use tenantry_core::ManualClock;
use tenantry_secrets::key_version;

use super::*;

#[tokio::test]
async fn a_secret_opens_for_its_tenant_in_its_place_and_nowhere_else() {
    let world = world().await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    let (acme, globex) = (world.context("acme").await, world.context("globex").await);
    let secrets = server(&world, ring(&line("m")));
    let sealed = seal(&secrets, &acme, "hunter2").await;
    assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
    assert_eq!(open(&secrets, &acme, &sealed).await.unwrap(), "hunter2");

    // With a key of its own, and while it has none, the other company opens nothing.
    for _ in 0..2 {
        assert!(matches!(open(&secrets, &globex, &sealed).await, Err(SecretsError::Unreadable { .. })));
        seal(&secrets, &globex, "other").await;
    }
    // Copied to another row or column of the same company it opens neither.
    for place in [Place { row: Uuid::from_u128(2), ..PLACE }, Place { column: "refresh", ..PLACE }] {
        let copied = secrets.open(&acme, place, &sealed).await;
        assert!(matches!(copied, Err(SecretsError::Unreadable { .. })), "{place:?}");
        // What makes the difference is the place, not the value.
        let own = secrets.seal(&acme, place, &SecretString::from("hunter2")).await.unwrap();
        assert_eq!(secrets.open(&acme, place, &own).await.unwrap().expose_secret(), "hunter2");
    }
}

#[tokio::test]
async fn a_data_key_cannot_be_given_to_another_company() {
    let world = world().await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    let (acme, globex) = (world.context("acme").await, world.context("globex").await);
    let keys = ring(&line("m"));
    let sealed = seal(&server(&world, keys.clone()), &acme, "hunter2").await;
    let admin = world.admin().await;
    let steal = "INSERT INTO public.tenant_data_keys (tenant_id, version, wrapped_key, master_key_id) \
                 SELECT $1, version, wrapped_key, master_key_id FROM public.tenant_data_keys WHERE tenant_id = $2";
    admin.execute(steal, &[globex.id().as_uuid(), acme.id().as_uuid()]).await.unwrap();
    let error = open(&server(&world, keys), &globex, &sealed).await.unwrap_err();
    assert!(matches!(error, SecretsError::Master(MasterKeyError::Damaged)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_use_by_many_servers_at_once_makes_one_key() {
    let world = world().await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let keys = ring(&line("m"));
    let servers: Vec<Secrets> = (0..4).map(|_| server(&world, keys.clone())).collect();
    let jobs = servers.iter().flat_map(|secrets| {
        (0..8).map(|n| {
            let (secrets, context) = (secrets.clone(), context.clone());
            tokio::spawn(async move { seal(&secrets, &context, &format!("value {n}")).await })
        })
    });
    let sealed: Vec<Vec<u8>> = join_all(jobs).await.into_iter().map(Result::unwrap).collect();
    let rows = world.admin().await.query("SELECT version FROM public.tenant_data_keys", &[]).await.unwrap();
    assert_eq!(rows.len(), 1, "one key, whoever was first");
    for (number, value) in sealed.iter().enumerate() {
        assert_eq!(open(&servers[0], &context, value).await.unwrap(), format!("value {}", number % 8));
    }
    let audited = "SELECT count(*) FROM audit.events WHERE action = 'secrets.data_key'";
    assert_eq!(world.admin().await.query_one(audited, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn keys_stay_in_memory_for_their_time_only() {
    let world = world().await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let keys = ring(&line("m"));
    let sealed = seal(&server(&world, keys.clone()), &context, "hunter2").await;
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let counting = Counting::new(keys);
    let secrets = server_at(&world, counting.clone(), clock.clone());
    let opened = join_all((0..16).map(|_| open(&secrets, &context, &sealed))).await;
    assert!(opened.into_iter().all(|value| value.is_ok()));
    assert_eq!(counting.unwrapped(), 1, "those who wait share one question");
    clock.advance(TimeDelta::seconds(299));
    open(&secrets, &context, &sealed).await.unwrap();
    assert_eq!((counting.unwrapped(), secrets.cached()), (1, 1));
    clock.advance(TimeDelta::seconds(1));
    open(&secrets, &context, &sealed).await.unwrap();
    assert_eq!(counting.unwrapped(), 2);
}

#[tokio::test]
async fn a_purge_shreds_what_was_sealed() {
    let world = world().await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let keys = ring(&line("m"));
    let sealed = seal(&server(&world, keys.clone()), &context, "hunter2").await;
    let admin = world.admin().await;
    let count =
        async || admin.query_one("SELECT count(*) FROM public.tenant_data_keys", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 1);
    world.provisioner.delete("acme", TimeDelta::zero(), &actor()).await.unwrap();
    assert_eq!(count().await, 1, "a deleted tenant can be restored with its secrets");
    world.provisioner.purge("acme", TimeDelta::zero(), &actor()).await.unwrap();
    assert_eq!(count().await, 0);
    let old = open(&server(&world, keys.clone()), &context, &sealed).await;
    assert!(
        matches!(old, Err(SecretsError::Unreadable { .. })),
        "even the old context with a backup's ciphertext opens nothing"
    );
    world.tenant("acme").await;
    let again = world.context("acme").await;
    let secrets = server(&world, keys);
    seal(&secrets, &again, "new").await;
    assert!(matches!(open(&secrets, &again, &sealed).await, Err(SecretsError::Unreadable { .. })));
}

#[tokio::test]
async fn without_a_master_key_secrets_are_refused() {
    let world = world().await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let none = Secrets::none();
    let refused = none.seal(&context, PLACE, &SecretString::from("x")).await;
    assert!(matches!(refused, Err(SecretsError::NotConfigured)) && !none.is_configured());
    let sealed = seal(&server(&world, ring(&line("m"))), &context, "hunter2").await;
    // Another master key under the same id, and one that is not there: an error that says which, and no value.
    let wrong = open(&server(&world, ring(&line("m"))), &context, &sealed).await.unwrap_err();
    assert!(matches!(wrong, SecretsError::Master(MasterKeyError::Damaged)), "{wrong}");
    let unknown = open(&server(&world, ring(&line("n"))), &context, &sealed).await.unwrap_err();
    assert!(unknown.to_string().contains("`m`") && unknown.is_temporary(), "{unknown}");
    let garbage = server(&world, ring(&line("m")));
    for bytes in [&b""[..], b"hunter2", &[1; 60]] {
        assert!(matches!(open(&garbage, &context, bytes).await, Err(SecretsError::Unreadable { .. })));
    }
    assert_eq!(key_version(&sealed), Some(1));
}

#[tokio::test]
async fn nobody_but_the_registry_reads_data_keys() {
    let world = world().await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    seal(&server(&world, ring(&line("m"))), &context, "hunter2").await;
    let admin = world.admin().await;
    for role in [context.tenant().role().quoted(), "tenantry_auditor".to_owned(), "tenantry_meter".to_owned()] {
        let read = format!("SET ROLE {role}; SELECT wrapped_key FROM public.tenant_data_keys");
        let refused = admin.batch_execute(&read).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{role}");
        admin.batch_execute("RESET ROLE").await.unwrap();
    }
}
