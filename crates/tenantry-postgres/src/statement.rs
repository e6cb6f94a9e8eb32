use std::fmt::Write as _;

use tokio_postgres::types::Type;

use tenantry_core::{RoleName, SchemaName};

/// One SQL statement of a domain, with the types of its parameters.
///
/// The text names the tenant's tables with the pseudo schema `tenant.`; on use that is replaced by the
/// tenant's own, quoted schema. Qualified names make a statement independent of `search_path`, so its
/// plan survives when a connection changes tenant. Being `&'static`, the text holds nobody's input.
///
/// Declare statements with [`statements!`](crate::statements).
#[derive(Debug)]
pub struct Statement {
    name: &'static str,
    sql: &'static str,
    params: &'static [Type],
    planned_anew: bool,
}

impl Statement {
    /// Declares a statement; use the [`statements!`](crate::statements) macro.
    #[must_use]
    pub const fn new(name: &'static str, sql: &'static str, params: &'static [Type]) -> Self {
        Self { name, sql, params, planned_anew: false }
    }

    /// Declares a statement that the database plans for the values it is given, each time. Prepared ones it comes to plan for any values: which days are asked
    /// for and what is left out is not in such a plan, so it takes many rows for few.
    #[must_use]
    pub const fn planned_anew(name: &'static str, sql: &'static str, params: &'static [Type]) -> Self {
        Self { name, sql, params, planned_anew: true }
    }

    /// The constant's name, for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The text as written, with the pseudo schema.
    #[must_use]
    pub const fn sql(&self) -> &'static str {
        self.sql
    }

    /// The types of `$1`, `$2`, ….
    #[must_use]
    pub const fn params(&self) -> &'static [Type] {
        self.params
    }

    /// The text for one tenant's schema.
    #[must_use]
    pub fn for_schema(&self, schema: &SchemaName) -> String {
        qualify(self.sql, schema)
    }

    /// Whether it is never prepared.
    pub(crate) const fn is_planned_anew(&self) -> bool {
        self.planned_anew
    }

    /// An identity that is cheap to compare: the address of the text, which is static.
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// Replaces the pseudo schema `tenant.` by the quoted schema, outside of quotes and comments. The bodies of
/// functions between `$$` are code as well.
pub(crate) fn qualify(sql: &str, schema: &SchemaName) -> String {
    replace(sql, &schema.quoted(), None)
}

/// As [`qualify`], and the word `tenant_role` becomes the tenant's role: for migrations and for new tenants.
pub(crate) fn render(sql: &str, schema: &SchemaName, role: &RoleName) -> String {
    replace(sql, &schema.quoted(), Some(&role.quoted()))
}

fn replace(sql: &str, schema: &str, role: Option<&str>) -> String {
    const MARK: &str = "tenant.";
    const ROLE: &str = "tenant_role";
    let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let mut out = String::with_capacity(sql.len() + 32);
    let mut before = ' ';
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let begins_word = !part_of_word(before) && before != '.';
        if begins_word && rest.starts_with(MARK) {
            let _ = write!(out, "{schema}.");
            rest = &rest[MARK.len()..];
            before = '.';
            continue;
        }
        if let Some(role) = role
            && begins_word
            && rest.starts_with(ROLE)
            && !rest[ROLE.len()..].starts_with(part_of_word)
        {
            out.push_str(role);
            rest = &rest[ROLE.len()..];
            before = '"';
            continue;
        }
        let end = opaque(rest).unwrap_or(c.len_utf8());
        out.push_str(&rest[..end]);
        before = rest[..end].chars().next_back().unwrap_or(c);
        rest = &rest[end..];
    }
    out
}

/// The length of the quoted text or comment that `sql` begins with, if it does. A doubled quote ends one text and
/// begins another, which comes to the same.
fn opaque(sql: &str) -> Option<usize> {
    let (open, close) =
        [("'", "'"), ("\"", "\""), ("--", "\n"), ("/*", "*/")].into_iter().find(|(o, _)| sql.starts_with(o))?;
    let inner = &sql[open.len()..];
    Some(inner.find(close).map_or(sql.len(), |at| open.len() + at + close.len()))
}

/// Leaves a word out, in any case, where it is not quoted and no comment.
pub(crate) fn without_word(sql: &str, word: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let run = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
        if run > 0 && rest[..run].eq_ignore_ascii_case(word) {
            rest = &rest[run..];
            continue;
        }
        let end = opaque(rest).unwrap_or(if run > 0 { run } else { c.len_utf8() });
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

/// Declares the statements of a store module, and `STATEMENTS`, the list of them that the test which
/// prepares every statement reads.
///
/// ```
/// tenantry_postgres::statements! {
///     /// One note by id.
///     FIND_NOTE(UUID) = "SELECT body FROM tenant.notes WHERE id = $1";
/// }
/// assert_eq!(STATEMENTS.len(), 1);
/// ```
///
/// With `#![planned_anew]` before them they are [planned each time](Statement::planned_anew).
#[macro_export]
macro_rules! statements {
    (#![planned_anew] $($statements:tt)+) => {
        $crate::statements! { @ planned_anew $($statements)+ }
    };
    (@ $kind:ident $($(#[$meta:meta])* $name:ident ( $($ty:ident),* $(,)? ) = $sql:expr;)+) => {
        $(
            $(#[$meta])*
            pub static $name: $crate::Statement =
                $crate::Statement::$kind(stringify!($name), $sql, &[$($crate::Type::$ty),*]);
        )+
        /// Every statement of this module.
        pub static STATEMENTS: &[&$crate::Statement] = &[$(&$name),+];
    };
    ($($statements:tt)+) => {
        $crate::statements! { @ new $($statements)+ }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_quotes_and_comments_stay() {
        let sql = "CREATE INDEX CONCURRENTLY i ON a (b); -- concurrently\nSELECT 'concurrently', \"concurrently\", my_concurrently";
        assert_eq!(without_word(sql, "concurrently"), sql.replacen("CONCURRENTLY", "", 1));
    }

    #[test]
    fn replaces_only_the_pseudo_schema() {
        let schema = SchemaName::from_registry("tenant_acme").unwrap();
        assert_eq!(
            qualify("SELECT 'tenant.x', mytenant.y FROM tenant.agents, (tenant.tasks)", &schema),
            r#"SELECT 'tenant.x', mytenant.y FROM "tenant_acme".agents, ("tenant_acme".tasks)"#
        );
        assert_eq!(
            qualify("-- the company's tenant.x\nTABLE tenant.a /* it's tenant.b */; TABLE tenant.c -- end", &schema),
            "-- the company's tenant.x\nTABLE \"tenant_acme\".a /* it's tenant.b */; TABLE \"tenant_acme\".c -- end"
        );
        assert_eq!(
            qualify("SELECT 'it''s tenant.x', tenant.y", &schema),
            r#"SELECT 'it''s tenant.x', "tenant_acme".y"#
        );
    }

    #[test]
    fn replaces_the_role_as_a_word() {
        let schema = SchemaName::from_registry("tenant_acme").unwrap();
        let role = RoleName::for_tenant(tenantry_core::TenantId::from_uuid(uuid::Uuid::nil()));
        let name = role.quoted();
        assert_eq!(
            render(
                "GRANT SELECT ON tenant.a TO tenant_role; -- tenant_role\nSELECT 'tenant_role', tenant_roles, x.tenant_role, my_tenant_role, tenant_role",
                &schema,
                &role
            ),
            format!(
                "GRANT SELECT ON \"tenant_acme\".a TO {name}; -- tenant_role\nSELECT 'tenant_role', tenant_roles, x.tenant_role, my_tenant_role, {name}"
            )
        );
    }
}
