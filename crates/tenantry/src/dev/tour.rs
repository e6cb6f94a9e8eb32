//! What a new user pastes into another terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::cli::LocalRun;

/// Prints addresses and keys, and the tour unless it is not wanted.
pub(super) fn print(local: &LocalRun, data_dir: &Path, with_tour: bool) {
    let key = |slug: &str| local.keys.get(slug).map_or("", String::as_str);
    let operator = local.operator.as_deref().unwrap_or_default();
    let mut text = String::new();
    // writing to a string does not fail
    let _ = write!(
        text,
        "
Tenantry is ready
  base URL   {base}
  API        {base}/docs, and as OpenAPI {base}/openapi.json
  data       {data} (Ctrl-C stops everything; the next start continues with the same data)

  key of acme      {acme}
  key of globex    {globex}
  operator token   {operator}
",
        base = local.base_url,
        data = data_dir.display(),
        acme = key("acme"),
        globex = key("globex"),
    );
    if with_tour {
        text.push_str(&tour(&local.base_url, key("acme"), key("globex"), operator));
    }
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn tour(base: &str, acme: &str, globex: &str, operator: &str) -> String {
    format!(
        r#"
A tour, to paste into another terminal:

  BASE={base}
  ACME={acme}
  GLOBEX={globex}
  OPERATOR={operator}

  # acme creates an agent, gives it a task, and lists both
  AGENT=$(curl -s $BASE/v1/agents -H "X-Api-Key: $ACME" -H 'Content-Type: application/json' \
    -d '{{"name":"Tour guide '$$-$RANDOM'","role":"guide"}}' | sed 's/.*"id":"\([^"]*\)".*/\1/'); echo "agent $AGENT"
  TASK=$(curl -s $BASE/v1/tasks -H "X-Api-Key: $ACME" -H 'Content-Type: application/json' \
    -d '{{"agent_id":"'$AGENT'","title":"Show a visitor around"}}' | sed 's/.*{{"id":"\([^"]*\)".*/\1/'); echo "task $TASK"
  curl -s "$BASE/v1/agents?limit=3" -H "X-Api-Key: $ACME"; echo
  curl -s "$BASE/v1/tasks?limit=3" -H "X-Api-Key: $ACME"; echo

  # a task that waits for the first is not handed out before that is completed: the agent gets the first one
  curl -s $BASE/v1/tasks -H "X-Api-Key: $ACME" -H 'Content-Type: application/json' \
    -d '{{"agent_id":"'$AGENT'","title":"Say goodbye","priority":"urgent","depends_on":["'$TASK'"]}}'; echo
  curl -s $BASE/v1/tasks/claim -H "X-Api-Key: $ACME" -H 'Content-Type: application/json' -d '{{"agent_id":"'$AGENT'"}}'; echo

  # a call to a provider that was made elsewhere: priced from its usage, and in what was spent a few seconds later
  curl -s $BASE/v1/provider-calls -H "X-Api-Key: $ACME" -H 'Content-Type: application/json' \
    -d '{{"timestamp":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'","provider":"openai","operation":"chat.completions","model":"gpt-5-mini",
         "agent_id":"'$AGENT'","task_id":"'$TASK'","usage":{{"input":1200,"output":300}},"latency_ms":900}}'; echo; sleep 8
  curl -s $BASE/v1/analytics/cost-summary -H "X-Api-Key: $ACME"; echo

  # calls through the gateway are recorded by themselves; they go out with acme's own account at the provider, so this needs a key of yours
  # in OPENAI_API_KEY (official clients: base URL $BASE/llm/openai/v1, and acme's key as theirs)
  [ -z "$OPENAI_API_KEY" ] || curl -s $BASE/v1/provider-accounts -H "X-Api-Key: $ACME" -H 'Content-Type: application/json' \
    -d '{{"provider":"openai","name":"Tour","access_token":"'$OPENAI_API_KEY'"}}'; echo
  [ -z "$OPENAI_API_KEY" ] || curl -s $BASE/llm/openai/v1/chat/completions -H "Authorization: Bearer $ACME" \
    -H 'Content-Type: application/json' -d '{{"model":"gpt-5-mini","messages":[{{"role":"user","content":"Good morning"}}]}}'; echo

  # globex does not find them, and acme's key does not open globex: 404, then 403
  curl -s $BASE/v1/agents/$AGENT -H "X-Api-Key: $GLOBEX"; echo
  curl -s $BASE/v1/agents -H "X-Api-Key: $ACME" -H 'X-Tenant-Slug: globex'; echo

  # the operator suspends globex: refused within a second, and served again after resume
  curl -s -X POST $BASE/admin/v1/tenants/globex/suspend -H "Authorization: Bearer $OPERATOR"; echo; sleep 1
  curl -s $BASE/v1/agents -H "X-Api-Key: $GLOBEX"; echo
  curl -s -X POST $BASE/admin/v1/tenants/globex/resume -H "Authorization: Bearer $OPERATOR"; echo; sleep 1
  curl -s "$BASE/v1/agents?limit=1" -H "X-Api-Key: $GLOBEX"; echo
"#
    )
}
