//! Runs a case against the database and holds every answer against the model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use isolation::backends::{busy, eventually};
use isolation::marks::{ADD, ALL, FAIL, WHO};
use isolation::polls::at_most;
use isolation::through::few_connections;
use secrecy::ExposeSecret as _;
use tenantry_core::{PresentedToken, Slug, TokenKind};
use tenantry_postgres::{
    AccessError, AccessMode, Actor, DatabaseConfig, DbError, NewKey, NewTenant, ProvisionError, TenantContext, TenantDb,
};
use testkit::World;
use tokio_postgres::Client;

use super::model::{Life, Rows, Status, Tenant};
use super::ops::{Case, Change, End, Kind, Op, RESIDUE, Request};

/// One case on its way.
pub(super) struct Run {
    world: World,
    db: TenantDb,
    mode: AccessMode,
    admin: Client,
    tenants: Vec<Tenant>,
    rows: Rows,
    batches: AtomicUsize,
    cell_connections: usize,
    disconnects: bool,
    cancels: bool,
}

/// How a request ended that did not get its answer.
#[derive(Debug)]
enum Refused {
    Access(AccessError),
    Database(DbError),
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl Run {
    pub(super) async fn new(
        world: &World,
        config: &DatabaseConfig,
        mode: AccessMode,
        case: &Case,
        number: usize,
    ) -> Self {
        let access = few_connections(mode, case.cell_connections, case.max_connections);
        let run = Self {
            world: world.clone(),
            db: TenantDb::new(config.clone(), access, world.registry.clone()),
            mode,
            admin: world.admin().await,
            tenants: (0..case.tenants).map(|n| Tenant::new(format!("case-{number}-tenant-{n}"))).collect(),
            rows: Rows::default(),
            batches: AtomicUsize::new(0),
            cell_connections: case.cell_connections,
            disconnects: case.disconnects(),
            cancels: case.cancels(),
        };
        // One is left to be created on the way.
        for tenant in 1..case.tenants {
            run.change(&run.tenants[tenant], Change::Create).await;
        }
        run
    }

    pub(super) async fn client(self: Arc<Self>, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Request { tenant, request, polls } => self.request(&self.tenants[tenant], request, polls).await,
                Op::Change { tenant, change } => self.change(&self.tenants[tenant], change).await,
                Op::RevokeKey { tenant } => self.revoke_key(&self.tenants[tenant]).await,
                Op::Disconnect { which } => self.disconnect(which).await,
            }
        }
    }

    async fn request(&self, tenant: &Tenant, request: Request, polls: Option<usize>) {
        let before = tenant.life();
        let result = match polls {
            Some(polls) => at_most(polls, self.serve(tenant, request)).await,
            None => Some(self.serve(tenant, request).await),
        };
        let Some(result) = result else { return };
        let after = tenant.life();
        let settled = before == after && before.version.is_multiple_of(2);
        match result {
            Ok(()) => assert!(!settled || before.status == Status::Active, "served while {:?}", before.status),
            Err(refused) => self.judge(request, settled, before, refused),
        }
    }

    /// Whether a request may end so.
    fn judge(&self, request: Request, settled: bool, life: Life, refused: Refused) {
        let served = settled && life.status == Status::Active;
        let fine = match &refused {
            Refused::Access(AccessError::Inactive { .. } | AccessError::UnknownTenant { .. })
            | Refused::Database(DbError::ContextExpired) => !served,
            Refused::Database(DbError::Unavailable(_)) => self.disconnects,
            // A cancel request goes to a session by number; a pooler may have given that to another meanwhile.
            Refused::Database(DbError::Timeout(_)) => self.mode == AccessMode::Pooler && self.cancels,
            Refused::Database(DbError::Query(_)) if matches!(request, Request::Fail | Request::Residue(_)) => true,
            Refused::Database(DbError::Refused(_)) if matches!(request, Request::Residue(_)) => true,
            // The tenant is purged under the request.
            Refused::Database(DbError::Query(_) | DbError::Refused(_) | DbError::LockTimeout(_)) => !served,
            Refused::Database(DbError::Misuse(_)) => {
                self.mode == AccessMode::Pooler && matches!(request, Request::Residue(_))
            }
            _ => false,
        };
        assert!(fine, "{request:?} of a tenant that is {life:?} (settled: {settled}) ended with {refused:?}");
    }

    async fn serve(&self, tenant: &Tenant, request: Request) -> Result<(), Refused> {
        let slug: Slug = tenant.slug.parse().unwrap();
        let context = self.world.registry.system_context(&slug, "test").await.map_err(Refused::Access)?;
        let id = context.id();
        let mark = id.to_string();
        match request {
            Request::Read(kind) => self.read(&context, kind).await?,
            Request::WriteSingle => {
                let batch = self.batch(&context, 1);
                let mut tx = self.db.single(&context).await?;
                tx.execute(&ADD, &[&mark, &batch, &1]).await?;
                self.rows.acknowledged(id, &batch);
            }
            Request::Write { rows, end } => {
                let batch = self.batch(&context, usize::try_from(rows).unwrap());
                let mut tx = self.db.begin(&context).await?;
                for number in 0..rows {
                    tx.execute(&ADD, &[&mark, &batch, &number]).await?;
                }
                match end {
                    End::Commit => {
                        tx.commit().await?;
                        self.rows.acknowledged(id, &batch);
                    }
                    End::Rollback => {
                        tx.rollback().await?;
                        self.rows.gone(id, &batch);
                    }
                    End::Drop => {
                        drop(tx);
                        self.rows.gone(id, &batch);
                    }
                }
            }
            Request::Fail => {
                let batch = self.batch(&context, 1);
                let mut tx = self.db.begin(&context).await?;
                tx.execute(&ADD, &[&mark, &batch, &1]).await?;
                let failed = tx.query(&FAIL, &[]).await;
                assert!(tx.commit().await.is_err(), "a failed transaction is not committed");
                self.rows.gone(id, &batch);
                failed?;
            }
            Request::Residue(which) => {
                let mut tx = self.db.begin(&context).await?;
                tx.raw(RESIDUE[which], &[]).await?;
                let rows = tx.query(&ALL, &[]).await?;
                assert!(rows.iter().all(|row| row.get::<_, &str>(0) == mark), "a foreign row");
                // A rollback would take most of it back.
                tx.commit().await?;
            }
        }
        Ok(())
    }

    fn batch(&self, context: &TenantContext, rows: usize) -> String {
        let batch = format!("{} {}", context.slug().as_str(), self.batches.fetch_add(1, Ordering::Relaxed));
        self.rows.begun(context.id(), &batch, rows);
        batch
    }

    async fn read(&self, context: &TenantContext, kind: Kind) -> Result<(), DbError> {
        let to_be_seen = self.rows.to_be_seen(context.id());
        let mut tx = match kind {
            Kind::Single => self.db.single(context).await?,
            Kind::Several => self.db.begin(context).await?,
            Kind::ReadOnly => self.db.read_only(context).await?,
            Kind::Snapshot => self.db.snapshot(context).await?,
        };
        if !matches!(kind, Kind::Single) {
            let who: String = tx.query_one(&WHO, &[]).await?.get(0);
            assert_eq!(who, format!("tnt_{}", context.id().as_uuid().simple()), "the session is another's");
        }
        let rows = tx.query(&ALL, &[]).await?;
        self.rows.check(context.id(), &rows, &to_be_seen);
        tx.commit().await
    }

    async fn change(&self, tenant: &Tenant, change: Change) {
        let _alone = tenant.changing.lock().await;
        let before = tenant.life().status;
        let (provisioner, actor, slug) = (&self.world.provisioner, Actor::system("test"), tenant.slug.as_str());
        tenant.change_begins();
        let result = match change {
            Change::Create => {
                let new = NewTenant {
                    slug: slug.parse().unwrap(),
                    admin_email: "admin@example.org".into(),
                    plan_tier: "enterprise".into(),
                    allowed_domains: vec![],
                    dedicated: false,
                };
                provisioner.create(&new, &actor).await.map(drop)
            }
            Change::Suspend => provisioner.suspend(slug, &actor).await.map(drop),
            Change::Resume => provisioner.resume(slug, &actor).await.map(drop),
            Change::Delete => provisioner.delete(slug, TimeDelta::zero(), &actor).await.map(drop),
            Change::Restore => provisioner.restore(slug, &actor).await.map(drop),
            Change::Purge => provisioner.purge(slug, TimeDelta::zero(), &actor).await.map(drop),
        };
        let wanted = match (change, before) {
            (Change::Create, Status::Absent) => Some(Status::Active),
            (Change::Suspend, Status::Active | Status::Suspended) => Some(Status::Suspended),
            (Change::Resume, Status::Active | Status::Suspended) => Some(Status::Active),
            (Change::Delete, Status::Active | Status::Suspended | Status::Deleted) => Some(Status::Deleted),
            (Change::Restore, Status::Active | Status::Deleted) => Some(Status::Active),
            (Change::Purge, Status::Deleted) => Some(Status::Absent),
            _ => None,
        };
        match &result {
            Ok(()) => assert!(wanted.is_some(), "{change:?} of a tenant that is {before:?} is refused"),
            Err(
                ProvisionError::SlugTaken(_)
                | ProvisionError::NotFound(_)
                | ProvisionError::Transition { .. }
                | ProvisionError::NotPurgeable { .. },
            ) => assert!(wanted.is_none(), "{change:?} of a tenant that is {before:?} ended with {result:?}"),
            Err(error) => panic!("{change:?} ended with {error}"),
        }
        let now = wanted.unwrap_or(before);
        let parsed: Slug = slug.parse().unwrap();
        eventually("the change is heard", async || {
            self.world.registry.system_context(&parsed, "test").await.is_ok() == (now == Status::Active)
        })
        .await;
        tenant.change_ended(now);
    }

    async fn revoke_key(&self, tenant: &Tenant) {
        let _alone = tenant.changing.lock().await;
        if tenant.life().status == Status::Absent {
            return;
        }
        let (provisioner, actor) = (&self.world.provisioner, Actor::system("test"));
        let key = provisioner.create_key(&tenant.slug, &NewKey::named("short-lived"), &actor).await.unwrap();
        let token = PresentedToken::parse(key.token.expose_secret(), TokenKind::TenantKey).unwrap();
        assert!(self.world.registry.authenticate_key(&token).await.is_ok());
        provisioner.revoke_key(&tenant.slug, key.info.id, &actor).await.unwrap();
        let refused =
            async || matches!(self.world.registry.authenticate_key(&token).await, Err(AccessError::InvalidCredential));
        eventually("the revocation is heard", refused).await;
        assert!(refused().await, "it stays revoked");
    }

    async fn disconnect(&self, which: i64) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                   AND usename LIKE 'tenantry\\_cell\\_%' ORDER BY pid OFFSET $1 LIMIT 1";
        self.admin.query(sql, &[&which]).await.unwrap();
    }

    /// After all clients are done: no place is lost, no session is busy, and everybody has what was promised.
    pub(super) async fn finish(&self) {
        eventually("all places are free", async || self.db.stats().live == self.db.stats().idle).await;
        eventually("no session is busy", async || busy(&self.admin).await == 0).await;
        for tenant in self.tenants.iter().filter(|t| t.life().status == Status::Active) {
            let context = self.world.context(&tenant.slug).await;
            // A connection that died idle shows when it is used next, once.
            let mut tries = 0;
            while let Err(error) = self.read(&context, Kind::Several).await {
                tries += 1;
                assert!(self.disconnects && tries < 10, "{} is not served in the end: {error}", tenant.slug);
            }
            let mut held = Vec::new();
            for _ in 0..self.cell_connections {
                let mut tx = self.db.begin(&context).await.unwrap();
                assert_eq!(tx.query(&WHO, &[]).await.map(|rows| rows.len()).unwrap(), 1);
                held.push(tx);
            }
        }
        eventually("all places are free", async || self.db.stats().live == self.db.stats().idle).await;
        assert_eq!(self.db.stats().exhausted, 0);
        self.db.close();
        assert_eq!((self.db.stats().live, self.db.stats().idle), (0, 0));
    }
}
