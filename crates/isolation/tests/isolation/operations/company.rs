//! Companies whose rows all carry their mark, so that a row in the wrong place is known by its text alone.

use isolation::backends::eventually;
use isolation::server::{Answer, Tenant, TestServer};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// The name that an agent of every company has: a name taken elsewhere is not taken here.
pub(super) const COMMON_NAME: &str = "Mira";

/// A company with agents and tasks in all states that matter.
#[derive(Debug, Clone)]
pub(super) struct Company {
    pub(super) tenant: Tenant,
    /// In the text of every row.
    pub(super) mark: String,
    /// An agent with tasks.
    pub(super) agent: Uuid,
    /// A task of that agent.
    pub(super) task: Uuid,
    /// An agent that may be deleted.
    pub(super) spare_agent: Uuid,
    /// A task that may be deleted.
    pub(super) spare_task: Uuid,
    /// A schedule.
    pub(super) schedule: Uuid,
    /// A schedule that may be deleted.
    pub(super) spare_schedule: Uuid,
    /// A task that depends on `task`.
    pub(super) waiting_task: Uuid,
    /// A task that nothing depends on.
    pub(super) other_task: Uuid,
    /// A provider account.
    pub(super) account: Uuid,
    /// A provider account that may be ended.
    pub(super) spare_account: Uuid,
    /// A provider account that may be revoked.
    pub(super) ended_account: Uuid,
    /// The name of a credential that its agent may use.
    pub(super) credential: Uuid,
    /// The name of a credential that may be deleted.
    pub(super) spare_credential: Uuid,
    /// A price override.
    pub(super) price_override: Uuid,
    /// A price override that may be removed.
    pub(super) spare_override: Uuid,
    /// A place in its list of price overrides.
    pub(super) overrides_cursor: String,
    /// A place in its list of provider accounts.
    pub(super) accounts_cursor: String,
    /// A place in its list of credentials.
    pub(super) credentials_cursor: String,
    /// An agent that stays, to write to.
    pub(super) peer: Uuid,
    /// What the agent noted for itself.
    pub(super) note: Uuid,
    /// Messages to the peer: to be read, to be delivered, and one that may be deleted.
    pub(super) messages: [Uuid; 3],
    /// Drafts: to be changed, approved and rejected.
    pub(super) drafts: [Uuid; 3],
    /// An entry of its activity log.
    pub(super) entry: Uuid,
    /// Sessions: to be reported on, ended and failed.
    pub(super) sessions: [Uuid; 3],
    /// A member.
    pub(super) member: Uuid,
    /// A member that may be removed.
    pub(super) spare_member: Uuid,
    /// An API key.
    pub(super) key: Uuid,
    /// An API key that may be revoked.
    pub(super) spare_key: Uuid,
    /// A place in its list of members.
    pub(super) members_cursor: String,
    /// A place in its list of keys.
    pub(super) keys_cursor: String,
    /// A place in its list of agents.
    pub(super) agents_cursor: String,
    /// A place in its list of tasks.
    pub(super) tasks_cursor: String,
    /// Places in its lists of messages, threads, activity and sessions.
    pub(super) talk_cursors: [String; 4],
    /// A place in its list of schedules.
    pub(super) schedules_cursor: String,
    /// A place in its list of statements.
    pub(super) statements_cursor: String,
    /// A call to a provider.
    pub(super) provider_call: Uuid,
    /// A place in its list of calls.
    pub(super) provider_calls_cursor: String,
    /// A budget of its agent, with a webhook.
    pub(super) budget: Uuid,
    /// A budget that may be deleted.
    pub(super) spare_budget: Uuid,
    /// A place in its list of budgets.
    pub(super) budgets_cursor: String,
}

impl Company {
    /// Makes the tenant and its rows, through the endpoints where there are any.
    pub(super) async fn found(server: &TestServer, slug: &str) -> Self {
        let tenant = server.tenant(slug).await;
        let mark = format!("mark-{}", Uuid::new_v4().simple());
        let company = Self {
            tenant,
            mark,
            agent: Uuid::nil(),
            task: Uuid::nil(),
            spare_agent: Uuid::nil(),
            spare_task: Uuid::nil(),
            schedule: Uuid::nil(),
            spare_schedule: Uuid::nil(),
            waiting_task: Uuid::nil(),
            other_task: Uuid::nil(),
            account: Uuid::nil(),
            spare_account: Uuid::nil(),
            ended_account: Uuid::nil(),
            credential: Uuid::new_v4(),
            spare_credential: Uuid::new_v4(),
            price_override: Uuid::nil(),
            spare_override: Uuid::nil(),
            overrides_cursor: String::new(),
            accounts_cursor: String::new(),
            credentials_cursor: String::new(),
            peer: Uuid::nil(),
            note: Uuid::nil(),
            messages: [Uuid::nil(); 3],
            drafts: [Uuid::nil(); 3],
            entry: Uuid::nil(),
            sessions: [Uuid::nil(); 3],
            member: Uuid::nil(),
            spare_member: Uuid::nil(),
            key: Uuid::nil(),
            spare_key: Uuid::nil(),
            members_cursor: String::new(),
            keys_cursor: String::new(),
            agents_cursor: String::new(),
            tasks_cursor: String::new(),
            talk_cursors: Default::default(),
            schedules_cursor: String::new(),
            statements_cursor: String::new(),
            provider_call: Uuid::nil(),
            provider_calls_cursor: String::new(),
            budget: Uuid::nil(),
            spare_budget: Uuid::nil(),
            budgets_cursor: String::new(),
        };
        company.filled(server).await
    }

    async fn filled(mut self, server: &TestServer) -> Self {
        self.account = self.make(server, "/v1/provider-accounts", self.new_account("first")).await;
        self.spare_account = self.make(server, "/v1/provider-accounts", self.new_account("second")).await;
        self.ended_account = self.make(server, "/v1/provider-accounts", self.new_account("third")).await;
        self.price_override = self.make(server, "/v1/prices/overrides", self.new_override("first")).await;
        self.spare_override = self.make(server, "/v1/prices/overrides", self.new_override("second")).await;
        self.agent = self.make(server, "/v1/agents", self.new_agent("first")).await;
        self.spare_agent = self.make(server, "/v1/agents", self.new_agent("second")).await;
        for name in [self.credential, self.spare_credential] {
            self.make(server, "/v1/credentials", self.new_credential(name)).await;
        }
        let mut common = self.new_agent("third");
        common["name"] = json!(COMMON_NAME);
        let gone = self.make(server, "/v1/agents", common).await;
        self.task = self.make(server, "/v1/tasks", self.new_task()).await;
        self.spare_task = self.make(server, "/v1/tasks", self.new_task()).await;
        let mut waiting = self.new_task();
        waiting["depends_on"] = json!([self.task]);
        self.waiting_task = self.make(server, "/v1/tasks", waiting).await;
        self.other_task = self.make(server, "/v1/tasks", self.new_task()).await;
        let ended = self.make(server, "/v1/tasks", self.new_task()).await;
        self.schedule = self.make(server, "/v1/schedules", self.new_schedule()).await;
        self.spare_schedule = self.make(server, "/v1/schedules", self.new_schedule()).await;
        let change = json!({
            "status": "in_progress", "progress_details": { "note": self.mark }, "result": [self.mark],
            "error_details": { "why": self.mark },
        });
        // which puts the agent on it as well
        self.change(server, &format!("/v1/tasks/{}", self.task), change).await;
        for path in [format!("/v1/tasks/{ended}"), format!("/v1/agents/{gone}")] {
            let deleted = Answer::to(server.by(&self.tenant, Method::DELETE, &path)).await;
            assert_eq!(deleted.status, 204, "{}", deleted.text);
        }
        // the common name is taken again by a live agent
        let mut common = self.new_agent("fourth");
        common["name"] = json!(COMMON_NAME);
        self.peer = self.make(server, "/v1/agents", common).await;
        self.talk(server).await;
        self.metered(server).await;
        let member = |subject: &str| json!({ "subject": subject, "email": format!("{}@acme.example", self.mark), "role": "member" });
        let subject = format!("subject {}", self.mark);
        // the same subject may be a member of every company
        (self.member, self.spare_member) = (
            self.make(server, "/v1/members", member("common")).await,
            self.make(server, "/v1/members", member(&subject)).await,
        );
        let key = json!({ "name": format!("key {}", self.mark), "scopes": ["tasks:read"] });
        self.key = self.make(server, "/v1/keys", key.clone()).await;
        self.spare_key = self.make(server, "/v1/keys", key).await;
        self.members_cursor = self.cursor(server, "/v1/members").await;
        self.keys_cursor = self.cursor(server, "/v1/keys").await;
        self.agents_cursor = self.cursor(server, "/v1/agents").await;
        self.tasks_cursor = self.cursor(server, "/v1/tasks").await;
        self.accounts_cursor = self.cursor(server, "/v1/provider-accounts").await;
        self.overrides_cursor = self.cursor(server, "/v1/prices/overrides").await;
        self.credentials_cursor = self.cursor(server, "/v1/credentials").await;
        self.schedules_cursor = self.cursor(server, "/v1/schedules").await;
        self.spend(server).await;
        self.statements_cursor = self.cursor(server, "/v1/statements").await;
        self.call_providers(server).await;
        self.budget = self.make(server, "/v1/budgets", self.new_budget()).await;
        self.spare_budget = self.make(server, "/v1/budgets", self.new_budget()).await;
        self.budgets_cursor = self.cursor(server, "/v1/budgets").await;
        self
    }

    /// Calls of a provider, and the sums of their hour, with its mark in their texts.
    async fn metered(&self, server: &TestServer) {
        let admin = server.database.admin().await;
        let tenant = format!("(SELECT id FROM public.tenants WHERE slug = '{}')", self.tenant.slug);
        let (mark, agent, task, key, account) = (&self.mark, self.agent, self.task, &self.tenant.key_id, self.account);
        let sql = format!(
            "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, latency_ms, model, task_type, agent_id, task_id, api_key_id, \
               provider_account_id, tokens_input, tokens_output, usage, cost_usd, cost_source, list_baseline_usd, like_baseline_usd, optimal, \
               error_message, success, client_reference) \
             SELECT gen_random_uuid(), {tenant}, 'openai', 'chat.completions', 100, 'model {mark}', 'type {mark}', '{agent}', '{task}', '{key}', '{account}', \
               10, 10, '{{\"input\": 10, \"output\": 10}}', 0.000001 * n, 'catalogue', 0.01, 0.005, true, 'error {mark}', n > 1, '{mark}' FROM generate_series(1, 3) n; \
             INSERT INTO analytics.hourly_metrics SELECT tenant_id, hour, day, provider, model, operation, agent_id, api_key_id, provider_account_id, \
               task_type, count(*), count(*), count(*) FILTER (WHERE success), 0, 0, 0, sum(cost_usd), 0, sum(cost_usd) FILTER (WHERE NOT success), 0, count(*), \
               sum(cost_usd), sum(list_baseline_usd), sum(like_baseline_usd), count(*), 30, 30, 0, 0, 0, 300, array_fill(0::int8, ARRAY[32]), 0, 0 \
             FROM analytics.provider_api_calls WHERE tenant_id = {tenant} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
        );
        admin.batch_execute(&sql).await.unwrap();
    }

    /// What it spent this month, and closed statements of two months before, as the metering writes them.
    async fn spend(&self, server: &TestServer) {
        let (slug, mark) = (&self.tenant.slug, &self.mark);
        let sql = format!(
            "INSERT INTO analytics.hourly_metrics (tenant_id, hour, day, provider, model, operation, total_calls, operations, successful_calls, \
                 unpriced_calls, estimated_calls, unsettled_calls, cost_usd, adjustments_usd, failed_cost_usd, estimated_cost_usd, covered_calls, \
                 covered_cost_usd, list_baseline_usd, like_baseline_usd, optimal_calls, tokens_input, tokens_output, tokens_cache_read, \
                 tokens_cache_write, tokens_reasoning, latency_ms, latency_histogram, first_token_ms, first_token_calls) \
             SELECT id, date_trunc('hour', now(), 'UTC'), (now() AT TIME ZONE 'UTC')::date, 'openai', '{mark}', 'chat', 1, 1, 1, 0, 0, 0, 1.25, 0, 0, 0, \
                 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 5, '{{}}', 0, 0 FROM public.tenants WHERE slug = '{slug}'; \
             INSERT INTO analytics.statements (tenant_id, month, number, time_zone, period_start, period_end, calls, unpriced_calls, estimated_calls, \
                 unsettled_calls, cost_usd, amount_usd, display_currency, digest, closed_at, closed_by) \
             SELECT id, make_date(2026, n, 1), n, 'UTC', '2026-01-01', '2026-02-01', 1, 0, 0, 0, 1, 1, '{mark}', sha256(''), now(), '{mark}' \
                 FROM public.tenants, generate_series(1, 2) n WHERE slug = '{slug}'; \
             INSERT INTO analytics.statement_lines (tenant_id, month, line, kind, for_month, provider, model, calls, unpriced_calls, estimated_calls, \
                 unsettled_calls, tokens_input, tokens_output, cost_usd, amount_usd) \
             SELECT tenant_id, month, 1, 'usage', month, 'openai', '{mark}', 1, 0, 0, 0, 1, 1, 1, 1 FROM analytics.statements WHERE closed_by = '{mark}'"
        );
        server.database.admin().await.batch_execute(&sql).await.unwrap();
    }

    /// Calls to providers with its mark, as if they had been shipped.
    async fn call_providers(&mut self, server: &TestServer) {
        let admin = server.database.admin().await;
        for (n, id) in [Uuid::now_v7(), Uuid::now_v7()].into_iter().enumerate() {
            let sql = format!(
                "INSERT INTO analytics.provider_api_calls (id, tenant_id, agent_id, session_id, task_id, api_key_id, provider_account_id, \
                   provider, operation, model, requested_model, task_type, client_reference, provider_request_id, error_message, latency_ms, \
                   \"timestamp\") \
                 SELECT '{id}', id, '{}', '{}', '{}', '{}', '{}', 'openai', 'responses', 'model {mark}', '{mark}', '{mark}', '{mark}', '{mark}', \
                   '{mark}', 1, now() - interval '{n} minutes' FROM public.tenants WHERE slug = '{}'",
                self.agent,
                self.sessions[0],
                self.task,
                self.key,
                self.account,
                self.tenant.slug,
                mark = self.mark,
            );
            admin.batch_execute(&sql).await.unwrap();
            self.provider_call = id;
        }
        self.provider_calls_cursor = self.cursor(server, "/v1/provider-calls").await;
    }

    /// Waits until the server has shipped and summed up what the company did before, so that nothing of it changes by itself.
    async fn is_summed_up(&self, server: &TestServer, admin: &tokio_postgres::Client) {
        let sql = "SELECT NOT EXISTS (SELECT FROM analytics.dirty_hours d WHERE d.tenant_id = t.id) \
             AND NOT EXISTS (SELECT FROM analytics.task_outcomes o WHERE o.tenant_id = t.id AND NOT o.counted) \
             FROM public.tenants t WHERE slug = $1";
        let slug = self.tenant.slug.as_str();
        eventually("what a company did is summed up", async || {
            let row = admin.query_opt(sql, &[&slug]).await.unwrap();
            server.state.metering.health().records == 0 && row.is_none_or(|row| row.get(0))
        })
        .await;
    }

    /// A body that records a call.
    pub(super) fn new_provider_call(&self) -> Value {
        json!({
            "timestamp": chrono::Utc::now(), "provider": "openai", "operation": "responses", "model": self.mark, "latency_ms": 1,
            "usage": { "input": 1 }, "agent_id": self.agent, "task_id": self.task, "client_reference": self.mark,
        })
    }

    /// Messages, drafts, log and sessions, all with its mark.
    async fn talk(&mut self, server: &TestServer) {
        let mut note = self.new_message();
        note["to_agent_id"] = json!(self.agent);
        note["type"] = json!("system");
        self.note = self.make(server, "/v1/messages", note).await;
        // what the peer wrote, and the agent has not read
        let mut unread = self.new_message();
        (unread["from_agent_id"], unread["to_agent_id"]) = (json!(self.peer), json!(self.agent));
        self.make(server, "/v1/messages", unread).await;
        for n in 0..3 {
            self.messages[n] = self.make(server, "/v1/messages", self.new_message()).await;
            self.drafts[n] = self.make(server, "/v1/messages", self.new_draft()).await;
            self.sessions[n] = self.make(server, "/v1/sessions", self.new_session()).await;
            let path = format!("/v1/sessions/{}/usage", self.sessions[n]);
            let used = Answer::to(server.by(&self.tenant, Method::POST, &path).json(&self.usage())).await;
            assert_eq!(used.status, 200, "{}", used.text);
        }
        let gone = self.make(server, "/v1/messages", self.new_message()).await;
        let gone = server.by(&self.tenant, Method::DELETE, &format!("/v1/messages/{gone}"));
        assert_eq!(Answer::to(gone).await.status, 204);
        self.entry = self.make(server, "/v1/activity", self.new_entry()).await;
        self.make(server, "/v1/activity", self.new_entry()).await;
        let paths = ["/v1/messages", "/v1/messages/threads", "/v1/activity", "/v1/sessions"];
        for (cursor, path) in paths.into_iter().enumerate() {
            self.talk_cursors[cursor] = self.cursor_of(server, &format!("{path}?agent_id={}", self.agent)).await;
        }
    }

    /// A body that writes to the peer.
    pub(super) fn new_message(&self) -> Value {
        json!({ "from_agent_id": self.agent, "to_agent_id": self.peer, "subject": self.mark, "body": self.mark })
    }

    /// A body that drafts a message to somebody outside.
    pub(super) fn new_draft(&self) -> Value {
        json!({
            "from_agent_id": self.agent, "to_agent_id": self.peer, "body": self.mark, "type": "external_draft",
            "external_recipient": format!("{}@example.com", self.mark),
        })
    }

    /// A body that appends to the activity log.
    pub(super) fn new_entry(&self) -> Value {
        json!({
            "agent_id": self.agent, "task_id": self.task, "action": format!("action {}", self.mark),
            "details": { "note": self.mark },
        })
    }

    /// A body that starts a session.
    pub(super) fn new_session(&self) -> Value {
        json!({ "agent_id": self.agent, "task_id": self.task })
    }

    /// A body that reports on a session.
    pub(super) fn usage(&self) -> Value {
        json!({ "tokens_used": { "input": 1 }, "tool_calls": [{ "tool": self.mark }] })
    }

    /// A body that makes an agent.
    pub(super) fn new_agent(&self, name: &str) -> Value {
        json!({
            "name": format!("{name} {}", self.mark), "role": format!("role {}", self.mark), "personality_prompt": self.mark,
            "capabilities": [self.mark], "tool_permissions": { "mail": self.mark },
        })
    }

    /// A body that makes a task.
    pub(super) fn new_task(&self) -> Value {
        json!({
            "agent_id": self.agent, "created_by_id": self.agent, "title": format!("title {}", self.mark),
            "description": self.mark, "priority": "high", "deadline": "2030-01-01T00:00:00Z", "provider": "openai",
            "provider_account_id": self.account,
        })
    }

    /// A body that makes a provider account.
    /// Each for a model of its own, so that no two overlap.
    pub(super) fn new_override(&self, name: &str) -> Value {
        json!({
            "provider": "openai", "model": format!("{}-{name}-{}", self.mark, Uuid::new_v4()),
            "provider_account_id": self.account, "note": self.mark, "price": { "input": "1", "output": "2" },
        })
    }

    pub(super) fn new_account(&self, name: &str) -> Value {
        json!({
            "provider": "openai", "name": format!("{name} {}", self.mark), "owner_key": self.mark,
            "access_token": format!("token-{}", self.mark), "account_meta": { "note": self.mark },
        })
    }

    /// A body that makes a budget of its agent.
    pub(super) fn new_budget(&self) -> Value {
        json!({
            "name": format!("budget {} {}", Uuid::new_v4(), self.mark), "scope": "agent", "scope_id": self.agent, "period": "month",
            "limit_usd": "5", "webhook_url": format!("https://hooks.service.test:{}/echo", isolation::service::port()),
            "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        })
    }

    /// The service of a credential.
    pub(super) fn service() -> String {
        format!("crm.service.test:{}", isolation::service::port())
    }

    /// A body that makes a credential.
    pub(super) fn new_credential(&self, name: Uuid) -> Value {
        json!({
            "name": name, "service": Self::service(), "value": format!("value-{}", self.mark),
            "injection": { "as": "header", "name": "X-Api-Key", "template": format!("{} {{value}}", self.mark) },
            "allowed_agents": [self.agent],
        })
    }

    /// A body that makes a schedule which is not due while a test runs.
    pub(super) fn new_schedule(&self) -> Value {
        json!({
            "agent_id": self.agent, "name": format!("schedule {}", self.mark), "cron_expression": "0 0 29 2 *",
            "task_template": { "title": format!("scheduled {}", self.mark), "provider_account_id": self.account },
        })
    }

    async fn make(&self, server: &TestServer, path: &str, body: Value) -> Uuid {
        let made = Answer::to(server.by(&self.tenant, Method::POST, path).json(&body)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().parse().unwrap()
    }

    async fn change(&self, server: &TestServer, path: &str, change: Value) {
        let request = server.by(&self.tenant, Method::PATCH, path).header("if-match", "\"1\"").json(&change);
        let changed = Answer::to(request).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    async fn cursor(&self, server: &TestServer, path: &str) -> String {
        self.cursor_of(server, &format!("{path}?")).await
    }

    async fn cursor_of(&self, server: &TestServer, list: &str) -> String {
        let page = Answer::to(server.by(&self.tenant, Method::GET, &format!("{list}&limit=1"))).await;
        page.json()["next_cursor"].as_str().unwrap().to_owned()
    }

    /// A digest of each of its tables, and of what the registry holds about it.
    pub(super) async fn digests(&self, server: &TestServer) -> Vec<(String, String)> {
        let admin = server.database.admin().await;
        self.is_summed_up(server, &admin).await;
        let mut digests = Vec::new();
        for table in workforce::TENANT_TABLES {
            let rows = format!("SELECT t::text AS line FROM {}.{table} t", self.tenant.schema);
            digests.push(((*table).to_owned(), digest(&admin, &rows).await));
        }
        let id = format!("(SELECT id FROM public.tenants WHERE slug = '{}')", self.tenant.slug);
        for (table, column) in [
            ("tenants", "id"),
            ("tenant_domains", "tenant_id"),
            ("tenant_placements", "tenant_id"),
            ("tenant_api_keys", "tenant_id"),
            ("tenant_data_keys", "tenant_id"),
            ("tenant_members", "tenant_id"),
            ("tenant_usage", "tenant_id"),
        ] {
            let rows = format!("SELECT t::text AS line FROM public.{table} t WHERE {column} = {id}");
            digests.push((table.to_owned(), digest(&admin, &rows).await));
        }
        for table in [
            "provider_api_calls",
            "hourly_metrics",
            "daily_metrics",
            "task_outcomes",
            "roi_calculations",
            "statements",
            "statement_lines",
        ] {
            let rows = format!("SELECT t::text AS line FROM analytics.{table} t WHERE tenant_id = {id}");
            digests.push((table.to_owned(), digest(&admin, &rows).await));
        }
        let prices = format!("SELECT t::text AS line FROM analytics.price_overrides t WHERE tenant_id = {id}");
        digests.push(("price_overrides".to_owned(), digest(&admin, &prices).await));
        let alarms = format!("SELECT t::text AS line FROM tenantry.alarms t WHERE tenant_id = {id}");
        digests.push(("alarms".to_owned(), digest(&admin, &alarms).await));
        let budgets = format!("SELECT t::text AS line FROM analytics.budgets t WHERE tenant_id = {id}");
        digests.push(("budgets".to_owned(), digest(&admin, &budgets).await));
        digests
    }
}

pub(super) async fn digest(admin: &tokio_postgres::Client, rows: &str) -> String {
    let sql = format!(
        "SELECT count(*) || ' rows ' || md5(coalesce(string_agg(line, E'\\n' ORDER BY line), '')) FROM ({rows}) r"
    );
    admin.query_one(&sql, &[]).await.unwrap().get(0)
}
