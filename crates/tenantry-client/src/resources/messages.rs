use reqwest::Method;
use workforce::message::{
    Broadcast, CreateBroadcast, CreateMessage, DecideMessage, Message, MessageFilter, MessageOrder, ReadThread, Thread,
    ThreadRead, UpdateMessage,
};
use workforce::{AgentId, MessageId};

use crate::{Call, Change, Client, Collection, Create, Delete, List, Listed, Resource};

/// Messages, and drafts to people outside.
#[derive(Debug)]
pub enum Messages {}

impl Resource for Messages {
    const PATH: &'static str = "/v1/messages";
    type Id = MessageId;
    type Record = Message;
}

impl Listed for Messages {
    type Filter = MessageFilter;
    type Order = MessageOrder;
}

impl Create for Messages {
    type New = CreateMessage;
}

impl Change for Messages {
    type Change = UpdateMessage;
}

impl Delete for Messages {}

impl Client {
    /// Messages.
    #[must_use]
    pub fn messages(&self) -> Collection<Messages> {
        Collection::new(self.clone())
    }
}

impl Collection<Messages> {
    /// Writes to all other agents.
    pub fn broadcast(&self, new: &CreateBroadcast) -> Call<Broadcast> {
        self.at(Method::POST, "broadcasts").body(new)
    }

    /// Approves a draft as it was read, that is at this version.
    pub fn approve(&self, id: MessageId, version: i64) -> Call<Message> {
        self.at(Method::POST, format!("{id}/approve")).body(&DecideMessage { version: Some(version) })
    }

    /// Turns a draft down as it was read.
    pub fn reject(&self, id: MessageId, version: i64) -> Call<Message> {
        self.at(Method::POST, format!("{id}/reject")).body(&DecideMessage { version: Some(version) })
    }

    /// Marks a message delivered.
    pub fn deliver(&self, id: MessageId) -> Call<Message> {
        self.at(Method::POST, format!("{id}/deliver"))
    }

    /// Marks a message read.
    pub fn read(&self, id: MessageId) -> Call<Message> {
        self.at(Method::POST, format!("{id}/read"))
    }

    /// What agents have written to each other, by pairs.
    #[must_use]
    pub fn threads(&self) -> Threads {
        Threads { client: self.client.clone() }
    }
}

/// Threads: all messages between two agents.
#[derive(Debug)]
pub struct Threads {
    client: Client,
}

/// A list of threads, which has one order.
pub type ThreadList = List<Thread>;
/// The messages of a thread, which have one order.
pub type ThreadMessages = List<Message>;

impl Threads {
    /// The threads of an agent.
    pub fn list(&self, agent: AgentId) -> ThreadList {
        List::new(self.client.clone(), "/v1/messages/threads".to_owned(), vec![("agent_id", agent.to_string())])
    }

    /// The messages of one thread.
    pub fn messages(&self, agent: AgentId, other: AgentId) -> ThreadMessages {
        List::new(self.client.clone(), path(agent, other), std::iter::empty::<(&str, String)>())
    }

    /// Marks what the agent got from the other one as read, up to a message.
    pub fn read(&self, agent: AgentId, other: AgentId, up_to: MessageId) -> Call<ThreadRead> {
        self.client.call(Method::POST, format!("{}/read", path(agent, other))).body(&ReadThread { up_to })
    }
}

fn path(agent: AgentId, other: AgentId) -> String {
    format!("/v1/messages/threads/{agent}/{other}")
}
