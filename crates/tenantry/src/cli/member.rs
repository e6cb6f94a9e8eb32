//! `tenantry member …`.

use clap::{Subcommand, ValueEnum};
use tenantry::Settings;
use tenantry_core::{MemberId, Role};
use tenantry_postgres::{Actor, Member, MemberFilter, MemberPatch, NewMember, ProvisionError, Provisioner};

use super::confirm::Confirm;
use super::output::{self, optional, time};
use super::{CliError, Global};

/// Members read at once.
const PAGE: i64 = 200;

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(super) enum MemberCommand {
    /// Show a tenant's members
    List {
        /// The tenant
        slug: String,
    },
    /// Add a member; a tenant's first owner is made here, or with one of its keys
    Add {
        /// The tenant
        slug: String,
        /// What the identity provider calls them: `sub` of their tokens
        subject: String,
        /// What they may do
        #[arg(long, value_enum)]
        role: MemberRole,
        /// How to reach them
        #[arg(long)]
        email: Option<String>,
    },
    /// Change what a member may do
    SetRole {
        /// The tenant
        slug: String,
        /// The member's subject or id
        member: String,
        /// What they may do from now on
        #[arg(value_enum)]
        role: MemberRole,
    },
    /// Remove a member; the last owner stays
    Remove {
        /// The tenant
        slug: String,
        /// The member's subject or id
        member: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// What a member may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum MemberRole {
    Viewer,
    Member,
    Admin,
    Owner,
}

impl From<MemberRole> for Role {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Viewer => Self::Viewer,
            MemberRole::Member => Self::Member,
            MemberRole::Admin => Self::Admin,
            MemberRole::Owner => Self::Owner,
        }
    }
}

pub(super) async fn run(command: MemberCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let provisioner = global.provisioner(settings)?;
    let actor = Actor::cli();
    let member = match command {
        MemberCommand::List { slug } => {
            let members = all(&provisioner, &slug).await?;
            return output::list(global.output, &members, &["subject", "role", "email", "added", "id"], |m| {
                vec![
                    m.subject.clone(),
                    m.role.to_string(),
                    optional(m.email.clone()),
                    time(m.created_at),
                    m.id.to_string(),
                ]
            });
        }
        MemberCommand::Add { slug, subject, role, email } => {
            let new = NewMember { subject, email, role: role.into() };
            provisioner.add_member(&slug, &new, &actor).await?
        }
        MemberCommand::SetRole { slug, member, role } => {
            let id = find(&provisioner, &slug, &member).await?;
            let patch = MemberPatch { role: Some(role.into()), email: None };
            provisioner.change_member(&slug, id, &patch, &actor).await?
        }
        MemberCommand::Remove { slug, member, confirm } => {
            let id = find(&provisioner, &slug, &member).await?;
            confirm.word(&format!("`{member}` will not act for `{slug}` as a member any more"), "remove")?;
            provisioner.remove_member(&slug, id, &actor).await?
        }
    };
    output::record(global.output, &member, &lines(&member))
}

async fn all(provisioner: &Provisioner, slug: &str) -> Result<Vec<Member>, ProvisionError> {
    let mut filter = MemberFilter { limit: PAGE, ..MemberFilter::default() };
    let mut members: Vec<Member> = Vec::new();
    loop {
        let page = provisioner.members(slug, &filter).await?;
        let Some(last) = page.last().map(|member| member.id) else { return Ok(members) };
        filter.after = Some(last);
        members.extend(page);
    }
}

/// The member with this subject, or this id.
async fn find(provisioner: &Provisioner, slug: &str, named: &str) -> Result<MemberId, ProvisionError> {
    let filter = MemberFilter { subject: Some(named.to_owned()), limit: 1, ..MemberFilter::default() };
    let found = provisioner.members(slug, &filter).await?;
    let id = found.first().map(|member| member.id).or_else(|| named.parse().ok());
    id.ok_or_else(|| ProvisionError::UnknownMember(named.chars().take(80).collect()))
}

fn lines(member: &Member) -> Vec<(&'static str, String)> {
    vec![
        ("id", member.id.to_string()),
        ("subject", member.subject.clone()),
        ("role", member.role.to_string()),
        ("e-mail", optional(member.email.clone())),
        ("added", time(member.created_at)),
    ]
}
