//! `tenantry doctor`.

use clap::Args;
use tenantry::Settings;
use tenantry_postgres::AccessMode;
use tenantry_postgres::doctor::{Expected, Finding, Severity, examine};
use tenantry_secrets::{MasterSource, SecretsConfig};

use super::open::LocalRun;
use super::{CliError, Global, Output, output};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The transaction-mode pooler to look at as well; its console is asked as the URL's user
    #[arg(long, env = "TENANTRY_POOLER_URL", value_name = "URL", hide_env_values = true)]
    pooler_url: Option<String>,
    /// Servers (`tenantry serve`) that are to run at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    servers: u32,
    /// Show only what is not well
    #[arg(long)]
    quiet: bool,
}

pub(super) async fn run(args: DoctorArgs, global: &Global, mut settings: Settings) -> Result<(), CliError> {
    if args.pooler_url.is_some() {
        settings.pooler_url = args.pooler_url;
    }
    if settings.pooler_url.is_some() {
        settings.access.mode = AccessMode::Pooler;
    }
    let database = global.database(&settings)?;
    let url = match &settings.database_url {
        Some(url) => url.clone(),
        // `database` has found it there.
        None => LocalRun::read(&global.data_dir).map(|local| local.database_url).unwrap_or_default(),
    };
    let schema = workforce::tenant_schema();
    let expected = Expected {
        servers: args.servers,
        access: settings.access.clone(),
        registry: settings.registry.clone(),
        version: schema.version,
        needs: schema.needs,
    };
    let mut findings = examine(&url, &database, &expected).await?;
    findings.push(master_keys(&global.master_keys(&settings)));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (fails, warnings, checks) = (count(Severity::Fail), count(Severity::Warn), findings.len());
    if args.quiet {
        findings.retain(|finding| finding.severity > Severity::Ok);
    }
    if global.output == Output::Json {
        output::json(&findings)?;
    } else {
        let text: Vec<String> = findings.iter().map(lines).collect();
        output::print(&text.join("\n"))?;
    }
    let told = format!("{checks} results: {fails} fail, {warnings} warn");
    if fails > 0 {
        return Err(CliError::unhealthy(told).hint("enter the lines after `mend:` and look again"));
    }
    super::say(told);
    Ok(())
}

fn lines(finding: &Finding) -> String {
    let mend = finding.mend.as_ref().map(|mend| format!("\n      mend: {mend}")).unwrap_or_default();
    format!("{:<5} {:<34} {}{mend}", finding.severity.as_str(), finding.check, finding.reason)
}

/// Whether this program could keep tenants' secrets; that the key is the right one, `secrets status` tells.
fn master_keys(config: &SecretsConfig) -> Finding {
    use std::os::unix::fs::PermissionsExt as _;
    let finding = |severity, reason: String, mend: Option<String>| Finding {
        check: "secrets.master_key",
        severity,
        reason,
        mend,
    };
    let readable = |file: &std::path::PathBuf| {
        std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
    };
    match (config.source, &config.file) {
        (MasterSource::None, _) => finding(
            Severity::Warn,
            "no master key is configured: provider accounts and credentials are refused".to_owned(),
            Some("tenantry secrets new-key > master-keys, and `secrets.file` or TENANTRY_MASTER_KEY_FILE (docs/guides/secrets.md)".to_owned()),
        ),
        (MasterSource::File, Some(file)) if readable(file) => finding(
            Severity::Warn,
            format!("everybody on this machine may read the master keys in `{}`", file.display()),
            Some(format!("chmod o-rwx {}", file.display())),
        ),
        (source, _) => finding(Severity::Ok, format!("the master key is kept by `{source:?}`").to_lowercase(), None),
    }
}
