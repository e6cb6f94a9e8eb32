//! Messages: what agents tell each other, and drafts to people outside, which somebody has to approve.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::checks::{Checks, Validate};
use crate::text_enum::text_enum;
use crate::time_order::time_order;
use crate::{AgentId, MessageId, MessageStatus, Patch, Record};

const MAX_SUBJECT_CHARS: usize = 300;
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Less than other messages have, because a broadcast is stored once for each agent.
const MAX_BROADCAST_BYTES: usize = 16 * 1024;
const MAX_RECIPIENT_CHARS: usize = 320;

text_enum! {
    /// What kind of message it is.
    pub enum MessageType("message type") {
        /// From one agent to another.
        Direct = "direct",
        /// From one agent to all others: a message of its own for each.
        Broadcast = "broadcast",
        /// Written by a rule or a tool in the name of an agent.
        System = "system",
        /// To somebody outside; goes nowhere before a person has approved it.
        ExternalDraft = "external_draft",
    }
}

/// A message of the company.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Names the message for good.
    #[schema(value_type = Uuid)]
    pub id: MessageId,
    /// Who wrote it.
    #[schema(value_type = Uuid)]
    pub from_agent_id: AgentId,
    /// Who gets it; for a draft the agent that looks after it, which is its author unless given.
    #[schema(value_type = Uuid)]
    pub to_agent_id: AgentId,
    /// One line, may be empty.
    pub subject: String,
    /// The text.
    pub body: String,
    /// What kind of message it is.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// Where it is in its life.
    pub status: MessageStatus,
    /// Whether it is a draft to somebody outside.
    pub is_external_draft: bool,
    /// The e-mail address a draft is for.
    #[schema(required)]
    pub external_recipient: Option<String>,
    /// Who approved a draft, as the audit trail names them.
    #[schema(required)]
    pub approved_by: Option<String>,
    /// When it was approved.
    #[schema(required)]
    pub approved_at: Option<DateTime<Utc>>,
    /// The broadcast that it is a part of.
    #[schema(required)]
    pub broadcast_id: Option<Uuid>,
    /// Grows by one with every change; an approval names the version that was read.
    pub version: i64,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was read.
    #[schema(required)]
    pub read_at: Option<DateTime<Utc>>,
    /// When it was deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Message {
    /// The statuses this message may take next.
    #[must_use]
    pub const fn allowed_next(&self) -> &'static [MessageStatus] {
        self.status.successors(self.is_external_draft)
    }

    /// Whether its text may still be changed: only a draft that waits for its approval.
    #[must_use]
    pub const fn is_editable(&self) -> bool {
        self.is_external_draft && matches!(self.status, MessageStatus::Pending)
    }
}

impl Record for Message {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "from_agent_id",
        "to_agent_id",
        "subject",
        "body",
        "type",
        "status",
        "is_external_draft",
        "external_recipient",
        "approved_by",
        "approved_at",
        "broadcast_id",
        "version",
        "created_at",
        "read_at",
        "deleted_at",
    ];
}

time_order! {
    /// In what order messages are listed.
    MessageOrder of Message in Messages by created_at: "-created_at", "created_at"
}

/// The body that writes a message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "from_agent_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", "to_agent_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b44",
    "subject": "Ridgeline tents", "body": "The container is at sea until the 19th. Offer the free footprint, or a refund." }))]
pub struct CreateMessage {
    /// Who writes it: a live agent.
    #[schema(value_type = Uuid)]
    pub from_agent_id: AgentId,
    /// Who gets it: a live agent, not the writer unless the type is `system`. Required, but for a draft, which its author
    /// looks after unless given.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    pub to_agent_id: Option<AgentId>,
    /// At most 300 characters.
    #[serde(default)]
    #[schema(max_length = 300, example = "Ridgeline tents")]
    pub subject: String,
    /// 1 byte to 256 KiB.
    #[schema(
        min_length = 1,
        example = "The container is at sea until the 19th. Offer the free footprint, or a refund."
    )]
    pub body: String,
    /// `direct` unless given. A `broadcast` is sent with `POST /v1/messages/broadcasts`.
    #[serde(default, rename = "type")]
    pub kind: Option<MessageType>,
    /// The e-mail address that a draft is for: required for a draft, refused for anything else.
    #[serde(default)]
    #[schema(max_length = 320)]
    pub external_recipient: Option<String>,
}

impl CreateMessage {
    /// The type, `direct` unless given.
    #[must_use]
    pub fn kind(&self) -> MessageType {
        self.kind.unwrap_or(MessageType::Direct)
    }

    /// Who gets it; a draft without one stays with its author.
    #[must_use]
    pub fn recipient(&self) -> AgentId {
        self.to_agent_id.unwrap_or(self.from_agent_id)
    }
}

impl Validate for CreateMessage {
    fn check(&self, checks: &mut Checks) {
        check_subject(checks, &self.subject);
        check_body(checks, &self.body, MAX_BODY_BYTES);
        let kind = self.kind();
        match (kind, &self.external_recipient) {
            (MessageType::Broadcast, _) => {
                checks.fail("/type", "a broadcast is sent with `POST /v1/messages/broadcasts`");
            }
            (MessageType::ExternalDraft, Some(recipient)) => check_recipient(checks, recipient),
            (MessageType::ExternalDraft, None) => {
                checks.fail("/external_recipient", "a draft needs the e-mail address that it is for");
            }
            (_, Some(_)) => checks.fail("/external_recipient", "only an `external_draft` goes to somebody outside"),
            (_, None) => {}
        }
        match (kind, self.to_agent_id) {
            (MessageType::Direct | MessageType::System, None) => {
                checks.fail("/to_agent_id", format!("a message of type `{kind}` needs a recipient"));
            }
            (MessageType::Direct, Some(to)) if to == self.from_agent_id => {
                checks.fail("/to_agent_id", "an agent does not write to itself");
            }
            _ => {}
        }
    }
}

/// The body that writes to all other agents.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "from_agent_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", "subject": "Gate 3 is closed",
    "body": "Until Friday morning. Trucks for gate 3 go to gate 1." }))]
pub struct CreateBroadcast {
    /// Who writes it: a live agent.
    #[schema(value_type = Uuid)]
    pub from_agent_id: AgentId,
    /// At most 300 characters.
    #[serde(default)]
    #[schema(max_length = 300, example = "Gate 3 is closed")]
    pub subject: String,
    /// 1 byte to 16 KiB.
    #[schema(min_length = 1, example = "Until Friday morning. Trucks for gate 3 go to gate 1.")]
    pub body: String,
}

impl Validate for CreateBroadcast {
    fn check(&self, checks: &mut Checks) {
        check_subject(checks, &self.subject);
        check_body(checks, &self.body, MAX_BROADCAST_BYTES);
    }
}

/// A broadcast that was sent. Its messages are listed by `GET /v1/messages?broadcast_id=…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Broadcast {
    /// Stands as `broadcast_id` in each of its messages.
    pub broadcast_id: Uuid,
    /// Who wrote it.
    #[schema(value_type = Uuid)]
    pub from_agent_id: AgentId,
    /// One line, may be empty.
    pub subject: String,
    /// How many agents got it: all that were live, but for the writer.
    #[schema(minimum = 0)]
    pub recipients: u64,
}

/// The body that changes a draft which waits for its approval: a merge patch. Absent members stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "subject": "Your tents", "body": "They arrive on the 19th." }))]
pub struct UpdateMessage {
    /// The version this change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// A new subject; `null` empties it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 300)]
    pub subject: Patch<String>,
    /// A new text.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1)]
    pub body: Patch<String>,
    /// Another e-mail address.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, max_length = 320)]
    pub external_recipient: Patch<String>,
}

impl UpdateMessage {
    /// The members that the patch names, for the audit trail (values stay out of it).
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("subject", self.subject.is_named()),
            ("body", self.body.is_named()),
            ("external_recipient", self.external_recipient.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateMessage {
    fn check(&self, checks: &mut Checks) {
        if let Some(subject) = self.subject.value() {
            check_subject(checks, subject);
        }
        if let Some(body) = checks.required("/body", &self.body) {
            check_body(checks, body, MAX_BODY_BYTES);
        }
        if let Some(recipient) = checks.required("/external_recipient", &self.external_recipient) {
            check_recipient(checks, recipient);
        }
    }
}

/// The body that decides on a draft.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1 }))]
pub struct DecideMessage {
    /// The version that was read; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub version: Option<i64>,
}

/// The body that marks a thread read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "up_to": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b43" }))]
pub struct ReadThread {
    /// The last message that was seen, a live one of the thread. What came after it stays unread.
    #[schema(value_type = Uuid)]
    pub up_to: MessageId,
}

impl Validate for ReadThread {
    fn check(&self, _: &mut Checks) {}
}

/// How many messages were marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThreadRead {
    /// Messages that were unread before.
    #[schema(minimum = 0)]
    pub read: u64,
}

/// What an agent and another have written to each other, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Thread {
    /// The other one.
    #[schema(value_type = Uuid)]
    pub with_agent_id: AgentId,
    /// How many messages of the other one are not read yet.
    #[schema(minimum = 0)]
    pub unread: i64,
    /// The newest message, in either direction.
    pub last_message: Message,
}

/// Which messages a list shows.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only what this agent wrote or got.
    pub agent_id: Option<AgentId>,
    /// With `agent_id`: only what the two wrote to each other.
    pub with_agent_id: Option<AgentId>,
    /// Only what this agent wrote.
    pub from_agent_id: Option<AgentId>,
    /// Only what this agent got.
    pub to_agent_id: Option<AgentId>,
    /// Only of these types; empty is all.
    pub types: Vec<MessageType>,
    /// Only with these statuses; empty is all.
    pub statuses: Vec<MessageStatus>,
    /// Only those not read yet, or only those read.
    pub unread: Option<bool>,
    /// Only those written at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those written before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Only those of one broadcast.
    pub broadcast_id: Option<Uuid>,
    /// Deleted ones as well.
    pub include_deleted: bool,
}

fn check_subject(checks: &mut Checks, subject: &str) {
    if !subject.is_empty() {
        checks.line("/subject", subject, MAX_SUBJECT_CHARS);
    }
}

fn check_body(checks: &mut Checks, body: &str, max: usize) {
    if body.is_empty() {
        checks.fail("/body", "must not be empty");
    } else {
        checks.prose("/body", body, max);
    }
}

/// The bare address, as it would stand in an envelope: no name beside it, and a domain that can be on the internet.
fn check_recipient(checks: &mut Checks, recipient: &str) {
    let options = email_address::Options::default().without_display_text().without_domain_literal().with_required_tld();
    let length = recipient.chars().count();
    if length > MAX_RECIPIENT_CHARS {
        checks.fail("/external_recipient", format!("must have at most {MAX_RECIPIENT_CHARS} characters, has {length}"));
    } else if let Err(error) = email_address::EmailAddress::parse_with_options(recipient, options) {
        let detail = error.to_string().to_lowercase();
        checks.fail("/external_recipient", format!("must be an e-mail address: {}", detail.trim_end_matches('.')));
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
