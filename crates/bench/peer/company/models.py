"""The ten tables of a company: the same columns, foreign keys and indexes as in migrations/tenant/, without the checks, the
policies and the grants, so that there is less to do here."""

import uuid

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now


def key():
    return models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


def now():
    return models.DateTimeField(db_default=Now())


def moment():
    return models.DateTimeField(null=True)


def text(default=None):
    return models.TextField() if default is None else models.TextField(db_default=Value(default))


def optional_text():
    return models.TextField(null=True)


def number(default):
    return models.IntegerField(db_default=Value(default))


def json(default):
    return models.JSONField(db_default=Value(default, models.JSONField()))


def link(to, **options):
    options = {"on_delete": models.DO_NOTHING, "related_name": "+", **options}
    # An index for every foreign key is Django's default, not that of the schema to compare with.
    return models.ForeignKey(to, db_index=False, **options)


class Agent(models.Model):
    id = key()
    name = text()
    role = text()
    personality_prompt = text("")
    status = text("idle")
    current_task = link("Task", null=True, on_delete=models.SET_NULL)
    capabilities = json([])
    tool_permissions = json({})
    version = models.BigIntegerField(db_default=Value(1))
    created_at = now()
    updated_at = now()
    deleted_at = moment()
    budget_cents = models.BigIntegerField(null=True)

    class Meta:
        db_table = "agents"
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=Q(deleted_at=None), name="agents_live_name")
        ]
        indexes = [models.Index(fields=["status", "budget_cents"], name="agents_by_budget")]


class ProviderAccount(models.Model):
    id = key()
    tenant_id = models.UUIDField()
    provider = text()
    status = text("active")
    owner_key = optional_text()
    encrypted_access_token = models.BinaryField()
    access_token_expires_at = moment()
    encrypted_refresh_token = models.BinaryField(null=True)
    refresh_token_expires_at = moment()
    scopes = json([])
    account_meta = json({})
    last_error = optional_text()
    last_error_at = moment()
    last_used_at = moment()
    created_at = now()
    updated_at = now()

    class Meta:
        db_table = "provider_accounts"


class Task(models.Model):
    id = key()
    agent = link(Agent)
    created_by = link(Agent)
    title = text()
    description = text("")
    status = text("pending")
    previous_status = optional_text()
    priority = text("normal")
    progress_percent = models.SmallIntegerField(db_default=Value(0))
    progress_details = json({})
    result = models.JSONField(null=True)
    deadline = moment()
    started_at = moment()
    completed_at = moment()
    error_details = models.JSONField(null=True)
    version = models.BigIntegerField(db_default=Value(1))
    retry_count = number(0)
    max_retries = number(3)
    created_at = now()
    deleted_at = moment()
    provider = optional_text()
    provider_account = link(ProviderAccount, null=True)

    class Meta:
        db_table = "tasks"
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="tasks_by_age"),
            models.Index(fields=["agent", "-created_at", "-id"], name="tasks_by_agent"),
        ]


class TaskDependency(models.Model):
    id = key()
    task = link(Task)
    depends_on_task = link(Task)
    depth = number(1)

    class Meta:
        db_table = "task_dependencies"
        constraints = [
            models.UniqueConstraint(fields=["task", "depends_on_task"], name="task_dependencies_pair")
        ]
        indexes = [models.Index(fields=["depends_on_task"], name="task_dependencies_by_target")]


class Message(models.Model):
    id = key()
    from_agent = link(Agent)
    to_agent = link(Agent)
    subject = text("")
    body = text()
    type = text("direct")
    status = text("pending")
    is_external_draft = models.BooleanField(db_default=Value(False))
    external_recipient = optional_text()
    approved_by = optional_text()
    approved_at = moment()
    created_at = now()
    read_at = moment()
    deleted_at = moment()

    class Meta:
        db_table = "messages"
        indexes = [
            models.Index(
                fields=["to_agent", "-created_at", "-id"], condition=Q(deleted_at=None), name="messages_inbox"
            )
        ]


class ActivityLog(models.Model):
    id = key()
    agent = link(Agent)
    task = link(Task, null=True)
    action = text()
    details = json({})
    timestamp = now()

    class Meta:
        db_table = "activity_logs"
        indexes = [models.Index(fields=["agent", "-timestamp", "-id"], name="activity_logs_by_agent")]


class AgentSession(models.Model):
    id = key()
    agent = link(Agent)
    task = link(Task, null=True)
    status = text("active")
    tokens_used = json({})
    tool_calls = json([])
    started_at = now()
    ended_at = moment()

    class Meta:
        db_table = "agent_sessions"
        indexes = [models.Index(fields=["agent", "-started_at", "-id"], name="agent_sessions_by_agent")]


class Schedule(models.Model):
    id = key()
    agent = link(Agent)
    name = text()
    cron_expression = text()
    task_template = json({})
    enabled = models.BooleanField(db_default=Value(True))
    last_run_at = moment()
    next_run_at = moment()
    failure_count = number(0)
    deleted_at = moment()

    class Meta:
        db_table = "schedules"
        indexes = [
            models.Index(fields=["next_run_at"], condition=Q(enabled=True, deleted_at=None), name="schedules_due")
        ]


class OauthTransaction(models.Model):
    id = key()
    tenant_id = models.UUIDField()
    provider = text()
    owner_key = optional_text()
    state = text()
    encrypted_pkce_verifier = models.BinaryField(null=True)
    flow_data = json({})
    expires_at = models.DateTimeField()
    created_at = now()

    class Meta:
        db_table = "oauth_transactions"
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "state"], name="oauth_transactions_state")
        ]


class CredentialProxy(models.Model):
    id = key()
    tenant_id = models.UUIDField()
    name = text()
    service = text()
    encrypted_value = models.BinaryField()
    allowed_agents = json([])
    created_at = now()
    rotated_at = moment()

    class Meta:
        db_table = "credential_proxies"
        constraints = [models.UniqueConstraint(fields=["tenant_id", "name"], name="credential_proxies_name")]
