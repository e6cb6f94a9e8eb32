//! The audit trail is a chain that shows every change made behind its back, in the order of the commits.

#![expect(clippy::disallowed_methods, reason = "a superuser tampers from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use tenantry_postgres::{
    Anchor, AuditTrail, ChainId, DbError, EventFilter, ExportRange, Flaw, NewKey, TenantContext, TenantSchema,
    statements,
};
use testkit::{World, WorldConfig};
use tokio_postgres::Client;

const TABLES: &str = "CREATE TABLE tenant.notes (body text); \
    CREATE TABLE tenant.events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, data jsonb NOT NULL, \
        created_at timestamptz NOT NULL DEFAULT now())";

statements! {
    /// Adds a note.
    ADD(TEXT) = "INSERT INTO tenant.notes (body) VALUES ($1)";
    /// Counts the notes.
    COUNT() = "SELECT count(*) FROM tenant.notes";
}

async fn world() -> (World, AuditTrail) {
    let world = World::start(WorldConfig::new(TenantSchema::new(TABLES, &["notes", "events"]))).await;
    let trail = AuditTrail::new(&world.database.config);
    (world, trail)
}

/// A change with audit events and published events.
async fn change(world: &World, context: &TenantContext, audited: &[&str], published: usize) -> Result<(), DbError> {
    let mut tx = world.db.begin(context).await?;
    tx.execute(&ADD, &[&audited.join(" ")]).await?;
    for target in audited {
        tx.audit(
            "note.create",
            target,
            json!({ "ä": target, "number": 1.50, "nested": { "b": [1, null], "a": true } }),
        );
    }
    for _ in 0..published {
        tx.publish("note.created", json!({ "of": audited.join(" ") }));
    }
    tx.commit().await
}

async fn flaw(trail: &AuditTrail, chain: ChainId, anchors: &[Anchor]) -> Option<Flaw> {
    trail.verify(chain, anchors, |_| {}).await.unwrap().flaw
}

async fn as_superuser(admin: &Client, sql: &str) {
    let sql = format!(
        "BEGIN; ALTER TABLE audit.events DISABLE TRIGGER ALL; {sql}; ALTER TABLE audit.events ENABLE TRIGGER ALL; COMMIT"
    );
    admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

const SAVE: &str = "CREATE SCHEMA saved; CREATE TABLE saved.events AS TABLE audit.events; CREATE TABLE saved.chains AS TABLE audit.chains";
const RESTORE: &str = "DELETE FROM audit.events; DELETE FROM audit.chains; INSERT INTO audit.chains SELECT * FROM saved.chains; \
    INSERT INTO audit.events OVERRIDING SYSTEM VALUE SELECT * FROM saved.events";

#[tokio::test]
async fn every_kind_of_tampering_is_found() {
    let (world, trail) = world().await;
    let acme = world.tenant("acme").await.tenant.id;
    let globex = world.tenant("globex").await.tenant.id;
    for slug in ["acme", "globex"] {
        let context = world.context(slug).await;
        for number in 0..5 {
            change(&world, &context, &[&format!("note/{number}")], 1).await.unwrap();
        }
    }
    let admin = world.admin().await;
    let chain = ChainId::of(acme);
    let before = trail.verify(chain, &[], |_| {}).await.unwrap();
    assert_eq!((before.events, before.flaw), (6, None), "the creation and five changes");
    let anchor = before.head.unwrap();
    as_superuser(&admin, SAVE).await;
    let row = |seq: i64| format!("(SELECT id FROM saved.events WHERE tenant_id = '{acme}' AND seq = {seq})");
    let id = async |seq: i64| admin.query_one(&format!("SELECT {}", row(seq)), &[]).await.unwrap().get::<_, i64>(0);
    let (third, fourth, sixth) = (id(3).await, id(4).await, id(6).await);
    let rehash = |from: i64| {
        format!(
            "DO $$ DECLARE e audit.events; last bytea; BEGIN \
               SELECT prev_hash INTO last FROM audit.events WHERE tenant_id = '{acme}' AND seq = {from}; \
               FOR e IN SELECT * FROM audit.events WHERE tenant_id = '{acme}' AND seq >= {from} ORDER BY seq LOOP \
                 UPDATE audit.events SET prev_hash = last, hash = audit.event_hash(e, last, e.seq) WHERE id = e.id RETURNING hash INTO last; \
               END LOOP; UPDATE audit.chains SET hash = last WHERE chain = '{acme}'; END $$"
        )
    };
    let update = |seq: i64, set: &str| format!("UPDATE audit.events SET {set} WHERE id = {}", row(seq));
    let changed = Some(Flaw::Changed { seq: 3, id: third });
    let cases: Vec<(String, Option<Flaw>)> = vec![
        (update(3, "details = details || '{\"number\": 2}'"), changed.clone()),
        (update(3, "actor = 'somebody else'"), changed.clone()),
        (update(3, "at = at + interval '1 microsecond'"), changed.clone()),
        (update(3, "client_ip = ''"), changed.clone()),
        (update(3, "action = 'note', target = '.create' || target"), changed.clone()),
        (update(3, "id = DEFAULT"), Some(Flaw::Changed { seq: 3, id: -1 })),
        (update(3, &format!("tenant_id = '{globex}'")), Some(Flaw::Removed { seq: 3, last: 3 })),
        (format!("DELETE FROM audit.events WHERE id = {}", row(3)), Some(Flaw::Removed { seq: 3, last: 3 })),
        (
            format!("DELETE FROM audit.events WHERE id IN ({}, {})", row(1), row(2)),
            Some(Flaw::Removed { seq: 1, last: 2 }),
        ),
        (
            format!("DELETE FROM audit.events WHERE id IN ({}, {})", row(5), row(6)),
            Some(Flaw::TailRemoved { seq: 5, last: 6 }),
        ),
        (
            format!("UPDATE audit.events e SET seq = 7 - e.seq WHERE id IN ({}, {})", row(3), row(4)),
            Some(Flaw::Changed { seq: 3, id: fourth }),
        ),
        (
            "INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target, seq, prev_hash, hash) \
             SELECT tenant_id, 'cli', 'x', 'x', 'x', seq, prev_hash, hash FROM audit.events WHERE id = "
                .to_owned()
                + &row(3),
            Some(Flaw::Inserted { seq: 3, id: -1 }),
        ),
        (
            "INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target, seq, prev_hash, hash) \
             SELECT tenant_id, 'cli', 'x', 'x', 'x', 7, hash, hash FROM audit.events WHERE id = "
                .to_owned()
                + &row(6),
            Some(Flaw::BeyondHead { seq: 7, id: -1 }),
        ),
        // one event rewritten with a hash that is right for it
        (
            update(3, "actor = 'x'")
                + "; UPDATE audit.events e SET hash = audit.event_hash(e, e.prev_hash, e.seq) WHERE id = "
                + &row(3),
            Some(Flaw::Replaced { seq: 3, id: fourth }),
        ),
        (
            update(6, "actor = 'x'")
                + "; UPDATE audit.events e SET hash = audit.event_hash(e, e.prev_hash, e.seq) WHERE id = "
                + &row(6),
            Some(Flaw::HeadChanged { seq: 6 }),
        ),
        (
            format!("UPDATE audit.chains SET hash = sha256('x') WHERE chain = '{acme}'"),
            Some(Flaw::HeadChanged { seq: 6 }),
        ),
        (format!("DELETE FROM audit.chains WHERE chain = '{acme}'"), Some(Flaw::HeadRemoved)),
        (
            format!(
                "DELETE FROM audit.events WHERE tenant_id = '{acme}'; DELETE FROM audit.chains WHERE chain = '{acme}'"
            ),
            Some(Flaw::Empty),
        ),
        // the head set back with the tail, or everything written anew: the chain itself cannot show it
        (
            format!(
                "DELETE FROM audit.events WHERE id = {}; UPDATE audit.chains c SET seq = 5, hash = e.hash \
                 FROM audit.events e WHERE c.chain = '{acme}' AND e.tenant_id = c.chain AND e.seq = 5",
                row(6)
            ),
            None,
        ),
        (update(3, "actor = 'x'") + ";" + &rehash(3), None),
    ];
    let others = ChainId::of(globex);
    for (sql, expected) in &cases {
        as_superuser(&admin, sql).await;
        let found = flaw(&trail, chain, &[]).await;
        assert_eq!(with_any_id(found.as_ref(), expected.as_ref()), *expected, "{sql}");
        assert!(
            flaw(&trail, chain, std::slice::from_ref(&anchor)).await.is_some(),
            "an anchor finds all of them: {sql}"
        );
        let moved = sql.contains(&globex.to_string());
        assert_eq!(
            flaw(&trail, others, std::slice::from_ref(&anchor)).await.is_some(),
            moved,
            "the other's chain: {sql}"
        );
        as_superuser(&admin, RESTORE).await;
    }
    // the negative control: what was restored is as it was written
    assert_eq!(flaw(&trail, chain, std::slice::from_ref(&anchor)).await, None);
    let wrong = Anchor { hash: vec![1; 32], ..anchor.clone() };
    assert_eq!(flaw(&trail, chain, &[anchor.clone(), wrong]).await, Some(Flaw::AnchorDiffers { seq: 6 }));
    let ahead = Anchor { seq: 7, ..anchor };
    assert_eq!(flaw(&trail, chain, &[ahead]).await, Some(Flaw::AnchorNotReached { seq: 7 }));
    // and with the triggers on, none of it is possible
    for sql in [update(3, "actor = 'x'"), format!("DELETE FROM audit.events WHERE id = {sixth}")] {
        let refused = admin.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
}

/// A row that the case makes has an id that it does not know.
fn with_any_id(found: Option<&Flaw>, expected: Option<&Flaw>) -> Option<Flaw> {
    match (found.cloned(), expected) {
        (Some(Flaw::Changed { seq, .. }), Some(Flaw::Changed { id: -1, .. })) => Some(Flaw::Changed { seq, id: -1 }),
        (Some(Flaw::Inserted { seq, .. }), Some(Flaw::Inserted { id: -1, .. })) => Some(Flaw::Inserted { seq, id: -1 }),
        (Some(Flaw::BeyondHead { seq, .. }), Some(Flaw::BeyondHead { id: -1, .. })) => {
            Some(Flaw::BeyondHead { seq, id: -1 })
        }
        (found, _) => found,
    }
}

#[tokio::test]
async fn all_chains_are_there_the_platforms_and_a_purged_tenants_too() {
    let (world, trail) = world().await;
    let acme = world.tenant("acme").await.tenant.id;
    let actor = tenantry_postgres::Actor::system("test");
    world.provisioner.create_operator("tess", &actor).await.unwrap();
    world.provisioner.delete("acme", chrono::TimeDelta::zero(), &actor).await.unwrap();
    world.provisioner.purge("acme", chrono::TimeDelta::zero(), &actor).await.unwrap();
    let chains = trail.chains().await.unwrap();
    assert_eq!(chains, [ChainId::PLATFORM, ChainId::of(acme)]);
    let mut heads = Vec::new();
    for chain in chains {
        let verdict = trail.verify(chain, &[], |_| {}).await.unwrap();
        assert_eq!(verdict.flaw, None, "{chain}");
        heads.push(verdict.head.unwrap());
    }
    let mut actions = Vec::new();
    let range = ExportRange::default();
    let head = trail.export(ChainId::of(acme), range, |event| {
        actions.push((event.seq, event.action.clone()));
        true
    });
    assert_eq!(head.await.unwrap().as_ref(), heads.last());
    let expected = [(1, "tenant.create"), (2, "tenant.delete"), (3, "tenant.purge")];
    assert_eq!(actions, expected.map(|(seq, action)| (seq, action.to_owned())));
    let later = ExportRange { from: Some(chrono::Utc::now()), to: None };
    let mut none = true;
    trail.export(ChainId::of(acme), later, |_| std::mem::take(&mut none)).await.unwrap();
    assert!(none, "nothing is later than now");
}

/// What was in the table before there were chains is chained in the order of the ids.
#[tokio::test]
async fn events_from_before_are_chained_by_the_migration() {
    let (world, trail) = world().await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    let context = world.context("acme").await;
    change(&world, &context, &["note/1", "note/2"], 0).await.unwrap();
    world.provisioner.create_operator("tess", &tenantry_postgres::Actor::system("test")).await.unwrap();
    let admin = world.admin().await;
    let undo = "DROP TRIGGER chained ON audit.events; DROP FUNCTION audit.chain_event, audit.event_hash; DROP FUNCTION audit.field; \
                ALTER TABLE audit.events DROP COLUMN seq, DROP COLUMN prev_hash, DROP COLUMN hash; DROP TABLE audit.chains";
    admin.batch_execute(undo).await.unwrap();
    let migration = include_str!("../../../migrations/registry/0005_audit_chain.sql");
    admin.batch_execute(&format!("BEGIN; SET LOCAL ROLE tenantry_owner; {migration}; COMMIT")).await.unwrap();
    change(&world, &context, &["note/3"], 1).await.unwrap();
    let mut events = 0;
    for chain in trail.chains().await.unwrap() {
        let verdict = trail.verify(chain, &[], |_| {}).await.unwrap();
        assert_eq!(verdict.flaw, None, "{chain}");
        events += verdict.events;
    }
    assert_eq!(events, 6, "two creations, three notes, an operator");
}

#[tokio::test]
async fn notes_are_written_with_the_commit_or_not_at_all() {
    let (world, trail) = world().await;
    let id = world.tenant("acme").await.tenant.id;
    let context = world.context("acme").await;
    let events = async || trail.verify(ChainId::of(id), &[], |_| {}).await.unwrap().events;
    let published = async || world.db.events_after(&context, Some(0), &EventFilter::default(), 100).await.unwrap();

    // a transaction of nothing but notes
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.audit("note.read", "notes", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(events().await, 2);
    // what is published is audited
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.publish("note.created", json!({}));
    tx.commit().await.unwrap();
    assert_eq!((events().await, published().await.events.len()), (3, 1));
    // rolled back, dropped, or after an error: nothing
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.audit("note.read", "notes", json!({}));
    tx.publish("note.created", json!({}));
    tx.rollback().await.unwrap();
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.audit("note.read", "notes", json!({}));
    drop(tx);
    // a note that the database does not take undoes the change
    for _ in 0..3 {
        let mut tx = world.db.begin(&context).await.unwrap();
        tx.execute(&ADD, &[&"lost"]).await.unwrap();
        tx.audit("note.create", "no\0te", json!({}));
        tx.commit().await.unwrap_err();
    }
    // neither one statement nor a transaction that reads leaves any
    let mut tx = world.db.single(&context).await.unwrap();
    tx.audit("note.read", "notes", json!({}));
    assert!(matches!(tx.commit().await, Err(DbError::Misuse(_))));
    let mut tx = world.db.single(&context).await.unwrap();
    tx.query(&COUNT, &[]).await.unwrap();
    tx.publish("note.created", json!({}));
    assert!(matches!(tx.commit().await, Err(DbError::Misuse(_))));
    let mut tx = world.db.read_only(&context).await.unwrap();
    tx.audit("note.read", "notes", json!({}));
    assert_eq!(tx.commit().await.unwrap_err().sqlstate(), Some("25006"));
    assert_eq!((events().await, published().await.events.len()), (3, 1));
    let mut tx = world.db.single(&context).await.unwrap();
    assert_eq!(tx.query_one(&COUNT, &[]).await.unwrap().get::<_, i64>(0), 0, "no change stayed");
}

/// Writers at once, and a reader that takes each event when it is there: none comes behind one that it has seen.
async fn unseen(world: &World, context: &TenantContext, writers: impl Future<Output = ()>) -> usize {
    let filter = EventFilter::default();
    let done = std::sync::atomic::AtomicBool::new(false);
    let write = async {
        writers.await;
        done.store(true, std::sync::atomic::Ordering::Release);
    };
    let read = async {
        let (mut place, mut seen) = (0, BTreeSet::new());
        loop {
            let last = done.load(std::sync::atomic::Ordering::Acquire);
            let batch = world.db.events_after(context, Some(place), &filter, 50).await.unwrap();
            assert!(batch.events.is_sorted_by_key(|event| event.id));
            seen.extend(batch.events.iter().map(|event| event.id));
            place = batch.position;
            if last && !batch.more {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(write, read);
    let all = world.db.events_after(context, Some(0), &filter, 10_000).await.unwrap();
    all.events.iter().filter(|event| !seen.contains(&event.id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_become_visible_in_their_order() {
    let (world, trail) = world().await;
    let id = world.tenant("acme").await.tenant.id;
    let context = world.context("acme").await;
    let second =
        World::on(world.database.clone(), WorldConfig::new(TenantSchema::new(TABLES, &["notes", "events"]))).await;
    let elsewhere = second.context("acme").await;
    let write = async {
        let writer = async |world: &World, context: &TenantContext| {
            for _ in 0..40 {
                change(world, context, &["note/1", "note/2"], 3).await.unwrap();
            }
        };
        tokio::join!(
            writer(&world, &context),
            writer(&world, &context),
            writer(&second, &elsewhere),
            writer(&second, &elsewhere)
        );
    };
    assert_eq!(Box::pin(unseen(&world, &context, write)).await, 0);
    let verdict = trail.verify(ChainId::of(id), &[], |_| {}).await.unwrap();
    assert_eq!((verdict.events, verdict.flaw), (1 + 4 * 40 * 2, None));
}

/// The negative control: rows that get their ids without the chain, and are committed in another order, are missed.
#[tokio::test]
async fn ids_without_the_chain_are_missed() {
    let (world, _) = world().await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let insert = "INSERT INTO tenant_acme.events (kind, data) VALUES ('a.b', '{}')";
    let write = async {
        let (early, late) = (world.admin().await, world.admin().await);
        early.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
        late.batch_execute(insert).await.unwrap();
        let seen = async || world.db.events_after(&context, Some(0), &EventFilter::default(), 10).await.unwrap();
        assert_eq!(seen().await.events.len(), 1);
        // the reader has certainly passed by when the first is committed
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        early.batch_execute("COMMIT").await.unwrap();
    };
    assert_eq!(Box::pin(unseen(&world, &context, write)).await, 1);
}

/// Many tenants at once, and the same tenant from many sides: no deadlock, no gap.
#[tokio::test(flavor = "multi_thread")]
async fn chains_of_many_writers_have_no_gap() {
    let (world, trail) = world().await;
    let slugs = ["a", "b", "c"];
    for slug in slugs {
        world.tenant(slug).await;
    }
    let actor = tenantry_postgres::Actor::system("test");
    let tenants = join_all(slugs.iter().cycle().take(9).map(async |slug| {
        let context = world.context(slug).await;
        for number in 0..10 {
            change(&world, &context, &[&format!("note/{number}")], 1).await.unwrap();
        }
    }));
    let operators = join_all(slugs.iter().map(async |slug| {
        for _ in 0..5 {
            world.provisioner.create_key(slug, &NewKey::named("k"), &actor).await.unwrap();
            world.provisioner.create_operator(&format!("o{}", uuid::Uuid::new_v4()), &actor).await.unwrap();
        }
    }));
    tokio::join!(tenants, operators);
    let mut events = 0;
    for chain in trail.chains().await.unwrap() {
        let verdict = trail.verify(chain, &[], |_| {}).await.unwrap();
        assert_eq!(verdict.flaw, None, "{chain}");
        events += verdict.events;
    }
    assert_eq!(events, 3 + 9 * 10 + 3 * 5 * 2);
}
