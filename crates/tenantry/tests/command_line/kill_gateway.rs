//! `kill -9` of a server while calls to a provider pass through it: what the provider ran is recorded, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metering::Decimal;
use metering::prices::recompute;
use metering::usage::Usage;
use serde_json::{Value, json};
use testkit::upstream::Upstream;

use super::gateway::{Served, account, client, company};

const ROUNDS: u64 = 5;
const CALLERS: usize = 8;
/// Calls that run in a round, at least.
const ENOUGH: usize = 25;
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls one after another until told to stop, each under a name of its own, plain ones and streams. What becomes of them does not matter.
async fn keep_calling(base: String, key: String, caller: String, stop: Arc<AtomicBool>) {
    let client = client();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("{caller}-{number}");
        let body = json!({
            "model": "gpt-4o-mini+cache+delay-3+pace-2", "messages": [{ "role": "user", "content": name }], "stream": number % 2 == 1,
        });
        let request = client.post(format!("{base}/llm/openai/v1/chat/completions")).bearer_auth(&key).json(&body);
        let request = request.header("x-tenantry-reference", &name).header("x-client-request-id", &name);
        match request.send().await {
            Ok(answer) => drop(answer.bytes().await),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_ran_is_recorded_once_whenever_the_server_is_killed() {
    let upstream = Upstream::start().await;
    let (installation, key) = company(&upstream).await;
    let mut served = Served::start(&installation);
    served.make(&key, "provider-accounts", account()).await;
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let name = format!("{round}-{caller}");
                tokio::spawn(keep_calling(served.base.clone(), key.clone(), name, Arc::clone(&stop)))
            })
            .collect();
        // Not at the same point of the calls' lives each time.
        tokio::time::sleep(Duration::from_millis(400 + 37 * round)).await;
        // Nor before enough have run, however slow the machine is.
        while upstream.log().ran().len() < ENOUGH * usize::try_from(round + 1).unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        served.child.kill().unwrap();
        served.child.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        served = Served::start(&installation);
    }

    let ran = upstream.log().ran();
    assert!(ran.len() > 100, "{} calls were under way", ran.len());
    let (database, connection) = tokio_postgres::connect(&installation.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT client_reference, usage_source, tokens_input, tokens_output FROM analytics.provider_api_calls";
    let began = Instant::now();
    let rows = loop {
        let rows = database.query(sql, &[]).await.unwrap();
        let mut of: HashMap<String, Vec<(String, i64, i64)>> = HashMap::new();
        for row in rows {
            of.entry(row.get(0)).or_default().push((row.get(1), row.get(2), row.get(3)));
        }
        let missing = ran.iter().filter(|ran| !of.contains_key(ran.client_request_id.as_ref().unwrap())).count();
        if missing == 0 {
            break of;
        }
        assert!(began.elapsed() < PATIENCE, "{missing} of {} calls that the provider ran are not recorded", ran.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // What a row says that was used is what it costs, also where nobody knows: to the frozen rates' last digit.
    let sql = "SELECT usage::text, rates::text, cost_usd::text, usage_source FROM analytics.provider_api_calls \
               WHERE usage_source <> 'none' AND cost_usd IS NOT NULL";
    let mut bounds = 0;
    for row in database.query(sql, &[]).await.unwrap() {
        let usage: Usage = serde_json::from_str(row.get(0)).unwrap();
        let rates: Value = serde_json::from_str(row.get(1)).unwrap();
        let cost: Decimal = row.get::<_, &str>(2).parse().unwrap();
        assert_eq!(recompute(&rates, &usage), Ok(cost), "{usage:?}");
        if row.get::<_, &str>(3) == "unsettled" {
            assert_eq!(usage.output, 16_384, "as much as the model writes");
            bounds += 1;
        }
    }
    assert!(bounds > 0, "some calls were under way");
    let doubled: Vec<_> = rows.iter().filter(|(_, rows)| rows.len() > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    let mut unsettled = 0;
    for ran in &ran {
        let (source, input, output) = &rows[ran.client_request_id.as_ref().unwrap()][0];
        if source == "reported" {
            let tokens = [ran.tokens.input, ran.tokens.output].map(|count| i64::try_from(count).unwrap());
            assert_eq!([*input, *output], tokens, "{ran:?}");
        } else {
            assert_eq!(source, "unsettled", "{ran:?}");
            unsettled += 1;
        }
    }
    // What was promised and not sent when the server died is there as well, and says of itself that nobody knows.
    let others = rows.iter().filter(|(name, _)| !ran.iter().any(|ran| ran.client_request_id.as_ref() == Some(*name)));
    for (name, rows) in others {
        assert_eq!(rows[0].0, "unsettled", "{name}");
    }
    let most = CALLERS * usize::try_from(ROUNDS).unwrap();
    assert!(unsettled <= most, "{unsettled} of {} are unsettled, not more than were under way at the kills", ran.len());
    let all: Value = json!({ "ran": ran.len(), "rows": rows.len(), "unsettled": unsettled });
    assert!(rows.len() <= ran.len() + most, "{all}");
}
