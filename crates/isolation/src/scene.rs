use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use tenantry_core::{RoleName, TenantId};
use tenantry_postgres::{Actor, ClusterSecret, NewTenant, TenantContext};
use testkit::{World, WorldConfig};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

/// A tenant of the scene.
#[derive(Debug, Clone)]
pub struct Party {
    /// Slug.
    pub slug: &'static str,
    /// Id.
    pub id: TenantId,
    /// Schema.
    pub schema: String,
    /// Role.
    pub role: String,
    /// The login of its cell.
    pub login: String,
    /// Stands in its rows everywhere, and nowhere else.
    pub marker: String,
}

/// Four tenants with marked rows in every place that has rows of tenants: one that attacks, its mate in the same
/// cell, a stranger in another cell, and one with a cell of its own.
#[derive(Debug)]
pub struct Scene {
    /// The server's inside.
    pub world: World,
    /// A superuser.
    pub admin: Client,
    /// The server's major version: some verdicts depend on it.
    pub major: i32,
    /// The attacker.
    pub me: Party,
    /// In the same cell.
    pub mate: Party,
    /// In another cell.
    pub stranger: Party,
    /// Alone in a dedicated cell: its role is its login.
    pub lone: Party,
}

impl Scene {
    /// Sets the scene.
    ///
    /// # Panics
    /// When it cannot be set.
    pub async fn set(change: impl FnOnce(&mut WorldConfig)) -> Self {
        let mut config = WorldConfig::new(workforce::tenant_schema());
        config.cell_capacity = 2;
        config.access.cell_connections = 1;
        config.access.tenant_connections = 1;
        change(&mut config);
        let world = World::start(config).await;
        let admin = world.admin().await;
        let major: i32 = admin
            .query_one("SELECT current_setting('server_version_num')::int / 10000", &[])
            .await
            .expect("the server has a version")
            .get(0);
        let mut parties = Vec::new();
        for (slug, dedicated) in [("acme", false), ("globex", false), ("initech", false), ("umbrella", true)] {
            parties.push(party(&world, &admin, slug, dedicated).await);
        }
        let [me, mate, stranger, lone] = <[Party; 4]>::try_from(parties).expect("four parties");
        assert_eq!(me.login, mate.login);
        assert_ne!(me.login, stranger.login);
        assert_eq!(lone.login, lone.role);
        Self { world, admin, major, me, mate, stranger, lone }
    }

    /// Everybody.
    #[must_use]
    pub const fn parties(&self) -> [&Party; 4] {
        [&self.me, &self.mate, &self.stranger, &self.lone]
    }

    /// Everybody but the attacker.
    #[must_use]
    pub const fn others(&self) -> [&Party; 3] {
        [&self.mate, &self.stranger, &self.lone]
    }

    /// A context of a party.
    pub async fn context(&self, party: &Party) -> TenantContext {
        self.world.context(party.slug).await
    }

    /// A bare connection as a login, as somebody who stole its password would have, and what it hears.
    pub async fn login(&self, login: &str) -> (Client, Heard) {
        self.login_to(login, &self.world.database.name).await.expect("the login may connect")
    }

    /// As [`Scene::login`], to any database of the server.
    ///
    /// # Errors
    /// As the server says.
    pub async fn login_to(&self, login: &str, database: &str) -> Result<(Client, Heard), tokio_postgres::Error> {
        let mut config: tokio_postgres::Config = testkit::url_for(database).parse()?;
        config.user(login).password(Self::password(login));
        connect(&config).await
    }

    /// The password of one of the product's logins.
    #[must_use]
    pub fn password(login: &str) -> String {
        use secrecy::ExposeSecret as _;
        let secret = ClusterSecret::new(testkit::SECRET.to_owned().into()).expect("the secret is long enough");
        secret.password_of(login).expose_secret().to_owned()
    }

    /// Puts names and markers in the place of `{me}`, `{mate}`, `{stranger}`, `{lone}` (schemas), `{me_role}`, … (roles),
    /// `{me_id}`, … (ids), `{login}` `{login_password}` and `{database}`.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        let mut text = text
            .replace("{login_password}", &Self::password(&self.me.login))
            .replace("{login}", &self.me.login)
            .replace("{database}", &self.world.database.name);
        for (name, party) in
            [("me", &self.me), ("mate", &self.mate), ("stranger", &self.stranger), ("lone", &self.lone)]
        {
            text = text
                .replace(&format!("{{{name}}}"), &party.schema)
                .replace(&format!("{{{name}_role}}"), &party.role)
                .replace(&format!("{{{name}_id}}"), &party.id.to_string())
                .replace(&format!("{{{name}_login}}"), &party.login);
        }
        text
    }

    /// Runs statements as the superuser.
    ///
    /// # Panics
    /// When the server refuses one.
    pub async fn as_admin(&self, sql: &str) {
        let sql = self.fill(sql);
        self.admin.batch_execute(&sql).await.unwrap_or_else(|e| panic!("as superuser: `{sql}`: {e:?}"));
    }
}

async fn party(world: &World, admin: &Client, slug: &'static str, dedicated: bool) -> Party {
    let new = NewTenant {
        slug: slug.parse().expect("a slug"),
        admin_email: format!("admin@{slug}.example"),
        plan_tier: "enterprise".into(),
        allowed_domains: Vec::new(),
        dedicated,
    };
    let created = world.provisioner.create(&new, &Actor::system("test")).await.expect("the tenant is created");
    let (id, schema) = (created.tenant.id, created.tenant.schema_name);
    let marker = format!("mark-of-{slug}-{}", uuid::Uuid::new_v4().simple());
    let m = &marker;
    // Written by the superuser, who is above row level security.
    let sql = format!(
        "INSERT INTO {schema}.agents (id, name, role) VALUES ('00000000-0000-4000-8000-000000000001', '{m}', 'developer'); \
         INSERT INTO {schema}.tasks (id, agent_id, created_by_id, title) SELECT '00000000-0000-4000-8000-000000000002', id, id, '{m}' FROM {schema}.agents; \
         INSERT INTO {schema}.messages (from_agent_id, to_agent_id, body) SELECT id, id, '{m}' FROM {schema}.agents; \
         INSERT INTO {schema}.activity_logs (agent_id, action) SELECT id, '{m}' FROM {schema}.agents; \
         INSERT INTO {schema}.provider_accounts (tenant_id, provider, owner_key, encrypted_access_token) VALUES ('{id}', 'openai', '{m}', '{m}'); \
         INSERT INTO {schema}.credential_proxies (tenant_id, name, service, encrypted_value) VALUES ('{id}', '{m}', '{m}', '{m}'); \
         INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, latency_ms, error_message) \
           SELECT gen_random_uuid(), '{id}', '{m}', '{m}', n, '{m}' FROM generate_series(1, 20) n; \
         INSERT INTO analytics.daily_metrics (tenant_id, date, provider, total_calls) VALUES ('{id}', current_date, '{m}', 20); \
         INSERT INTO analytics.roi_calculations (tenant_id, period_start, period_end, actual_cost_usd, baseline_cost_usd, savings_usd, \
           savings_percent, tasks_completed, optimal_routing_percent) VALUES ('{id}', now(), now() + interval '1 day', 1, 2, 1, 50, 1, 1); \
         INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target) VALUES ('{id}', 'system', '{m}', '{m}', '{m}'); \
         UPDATE public.tenants SET admin_email = '{m}@example.com', stripe_customer_id = '{m}' WHERE id = '{id}'; \
         UPDATE public.tenant_api_keys SET name = '{m}' WHERE tenant_id = '{id}'"
    );
    admin.batch_execute(&sql).await.unwrap_or_else(|e| panic!("the rows of `{slug}` are written: {e:?}"));
    let login: String = admin
        .query_one("SELECT c.login_role FROM public.tenant_placements p JOIN public.cells c ON c.id = p.cell_id WHERE p.tenant_id = $1", &[id.as_uuid()])
        .await
        .expect("the tenant is placed")
        .get(0);
    Party { slug, id, schema, role: RoleName::for_tenant(id).as_str().to_owned(), login, marker }
}

/// Notices and notifications that a connection got.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// What was heard since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// A bare client that is none of the product's.
///
/// # Errors
/// As the server says.
pub async fn connect(config: &tokio_postgres::Config) -> Result<(Client, Heard), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let heard = Heard::default();
    let ear = heard.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                AsyncMessage::Notice(notice) => ear.add(format!("notice: {notice:?}")),
                AsyncMessage::Notification(note) => ear.add(format!("{}: {}", note.channel(), note.payload())),
                _ => {}
            }
        }
    });
    Ok((client, heard))
}

/// All values of a message of the simple protocol, or the error's SQLSTATE and full text.
///
/// # Errors
/// The SQLSTATE (or `client`) and everything the error says.
pub async fn simple(client: &Client, sql: &str) -> Result<Vec<String>, (String, String)> {
    match client.simple_query(sql).await {
        Ok(messages) => Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .flat_map(|row| (0..row.len()).map(|n| row.get(n).unwrap_or("NULL").to_owned()))
            .collect()),
        Err(error) => Err((state(&error), format!("{error:?}"))),
    }
}

fn state(error: &(dyn Error + 'static)) -> String {
    let sql = error.downcast_ref::<tokio_postgres::Error>().and_then(|e| e.code());
    sql.map_or_else(|| "client".to_owned(), |code| code.code().to_owned())
}

/// A value of any type as the bytes that came, to look for a marker in.
#[derive(Debug)]
pub struct Bytes(pub Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Vec::new()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
