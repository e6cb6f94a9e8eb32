//! Two companies with believable data, a key for each, and an operator.

use secrecy::ExposeSecret as _;
use tenantry::AppState;
use tenantry_core::{PresentedToken, Slug, TenantStatus, TokenKind};
use tenantry_postgres::{Actor, NewKey, NewTenant, ProvisionError};
use workforce::sample;

use crate::cli::{CliError, LocalRun, say};

/// The demo tenants.
pub(super) const COMPANIES: [&str; 2] = ["acme", "globex"];

/// Makes what is missing. Tenants, keys and data of an earlier start stay as they are.
pub(super) async fn fill(state: &AppState, local: &mut LocalRun) -> Result<(), CliError> {
    for company in COMPANIES {
        let slug: Slug = company.parse()?;
        tenant(state, &slug, local).await?;
    }
    operator(state, local).await
}

#[expect(clippy::disallowed_methods, reason = "the platform fills its own demonstration")]
async fn tenant(state: &AppState, slug: &Slug, local: &mut LocalRun) -> Result<(), CliError> {
    let actor = Actor::system("tenantry dev");
    let provisioner = &state.provisioner;
    let status = match provisioner.show(slug.as_str()).await {
        Ok(tenant) => tenant.status,
        Err(ProvisionError::NotFound(_)) => {
            let new = NewTenant {
                slug: slug.clone(),
                admin_email: format!("admin@{slug}.example"),
                plan_tier: "growth".to_owned(),
                allowed_domains: Vec::new(),
                dedicated: false,
            };
            let created = provisioner.create(&new, &actor).await?;
            local.keys.insert(slug.to_string(), created.key.token.expose_secret().to_owned());
            say(format!("created tenant `{slug}`"));
            created.tenant.status
        }
        Err(error) => return Err(error.into()),
    };
    if !key_is_valid(state, slug, local).await {
        let key = provisioner.create_key(slug.as_str(), &NewKey::named("tenantry dev"), &actor).await?;
        local.keys.insert(slug.to_string(), key.token.expose_secret().to_owned());
    }
    if status != TenantStatus::Active {
        say(format!("tenant `{slug}` is {status}, as you left it"));
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| CliError::failed(format!("`{slug}` gets no demo data: {error}"));
    let registry = state.tenancy.registry();
    let context = registry.system_context(slug, "demo data").await.map_err(|error| failed(&error))?;
    let mut tx = state.tenancy.db().begin(&context).await?;
    let seeded = sample::seed(&mut tx, slug.as_str()).await.map_err(|error| failed(&error))?;
    tx.commit().await?;
    if seeded.agents > 0 {
        say(format!("`{slug}` has {} agents, {} tasks and {} messages", seeded.agents, seeded.tasks, seeded.messages));
    }
    Ok(())
}

/// Whether the key that an earlier start kept still opens the tenant's door.
async fn key_is_valid(state: &AppState, slug: &Slug, local: &LocalRun) -> bool {
    let Some(key) = local.keys.get(slug.as_str()) else { return false };
    let Ok(presented) = PresentedToken::parse(key, TokenKind::TenantKey) else { return false };
    state.tenancy.registry().authenticate_key(&presented).await.is_ok()
}

async fn operator(state: &AppState, local: &mut LocalRun) -> Result<(), CliError> {
    if let Some(Ok(presented)) =
        local.operator.as_deref().map(|token| PresentedToken::parse(token, TokenKind::Operator))
        && state.tenancy.registry().authenticate_operator(&presented).await.is_ok()
    {
        return Ok(());
    }
    // A name may be given once only; an earlier operator's token may be lost with the file that held it.
    let name = format!("dev-{}", uuid::Uuid::now_v7().simple());
    let token = state.provisioner.create_operator(&name, &Actor::system("tenantry dev")).await?;
    local.operator = Some(token.expose_secret().to_owned());
    Ok(())
}
