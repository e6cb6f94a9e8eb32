//! Hostile SQL, run as a tenant's role the way `TenantTx::raw` reaches it, and as somebody who stole the cell's login.
//!
//! The statements, with the verdict on each and the reason, are the tables in this directory. They read as documentation.

mod attack;
mod objects;
mod others;
mod roles;
mod server;
mod session;

use attack::{Attack, Verdict};
use isolation::{Bytes, Scene, differences, simple};

fn all() -> Vec<Attack> {
    [roles::ATTACKS, session::ATTACKS, others::ATTACKS, objects::ATTACKS, server::ATTACKS].concat()
}

/// What an attack came to.
#[derive(Debug)]
struct Outcome {
    /// The first refusal: which step, SQLSTATE, text.
    refused: Option<(usize, String, String)>,
    /// Everything that came back, in the clear.
    seen: Vec<u8>,
}

#[tokio::test]
async fn as_a_tenants_role() {
    run(Who::Tenant).await;
}

#[tokio::test]
async fn as_a_stolen_cell_login() {
    run(Who::Login).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Tenant,
    Login,
}

async fn run(who: Who) {
    let scene = Scene::set(|_| {}).await;
    let mut surprises = Vec::new();
    let mut before = scene.snapshot().await;
    for attack in all() {
        let verdict = match who {
            Who::Tenant => attack.tenant,
            Who::Login => attack.login,
        }
        .on(scene.major);
        let outcome = match who {
            Who::Tenant => as_tenant(&scene, &attack).await,
            Who::Login => as_login(&scene, &attack).await,
        };
        let mut wrong = judge(&scene, who, verdict, &outcome);
        // What was refused at once has changed nothing; the snapshot at the end makes sure.
        if !matches!(outcome.refused, Some((0, _, _))) {
            let mut after = scene.snapshot().await;
            let changed = differences(&before, &after);
            let unexpected = changed.iter().filter(|part| !attack.leaves.contains(&part.as_str()));
            wrong.extend(unexpected.map(|part| format!("changed {part}")));
            if !changed.is_empty() {
                if !attack.undo.is_empty() {
                    scene.as_admin(attack.undo).await;
                }
                after = scene.snapshot().await;
            }
            before = after;
        }
        if !wrong.is_empty() {
            let text = attack.sql.join(" ⏎ ");
            surprises.push(format!(
                "{} | {text}\n  expected: {verdict}\n  outcome:  {}\n  wrong:    {}",
                attack.group,
                outcome.summary(),
                wrong.join("; ")
            ));
        }
    }
    let changed = differences(&before, &scene.snapshot().await);
    assert!(changed.is_empty(), "a refused statement changed {changed:?}");
    assert!(surprises.is_empty(), "{} surprises as {who:?}:\n{}", surprises.len(), surprises.join("\n"));
}

impl Outcome {
    fn summary(&self) -> String {
        match &self.refused {
            Some((step, state, text)) => {
                format!("step {} refused with {state}: {}", step + 1, text.chars().take(300).collect::<String>())
            }
            None => format!("allowed, {} bytes came back", self.seen.len()),
        }
    }

    fn holds(&self, marker: &str) -> bool {
        let in_error = self.refused.as_ref().is_some_and(|(_, _, text)| text.contains(marker));
        in_error || self.seen.windows(marker.len()).any(|window| window == marker.as_bytes())
    }
}

fn judge(scene: &Scene, who: Who, verdict: Verdict, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let verdict = match (verdict, &outcome.refused) {
        (Verdict::IfBuilt(_), Some((_, state, _))) if state == "0A000" => Verdict::Refused("0A000"),
        (Verdict::IfBuilt(built), _) => *built,
        (verdict, _) => verdict,
    };
    match (verdict, &outcome.refused) {
        (Verdict::Refused(expected), Some((_, state, _))) if expected == state => {}
        (Verdict::Harmless | Verdict::DefendedBy(_), None) => {}
        _ => wrong.push("the verdict".to_owned()),
    }
    let beyond = who == Who::Login && matches!(verdict, Verdict::DefendedBy(_));
    // A bare login sees nobody's rows; one that took a role of its cell sees that cell's.
    let hidden: Vec<_> = match (who, beyond) {
        (Who::Tenant, _) => scene.others().to_vec(),
        (Who::Login, false) => scene.parties().to_vec(),
        (Who::Login, true) => vec![&scene.stranger, &scene.lone],
    };
    wrong.extend(hidden.iter().filter(|p| outcome.holds(&p.marker)).map(|p| format!("shows the marker of {}", p.slug)));
    wrong
}

/// One step alone commits by itself; several share a transaction.
async fn as_tenant(scene: &Scene, attack: &Attack) -> Outcome {
    let context = scene.context(&scene.me).await;
    let db = &scene.world.db;
    let opened = if attack.sql.len() == 1 { db.single(&context).await } else { db.begin(&context).await };
    let mut tx = opened.expect("the attacker is served");
    let mut outcome = Outcome { refused: None, seen: Vec::new() };
    for (step, sql) in attack.sql.iter().enumerate() {
        match tx.raw(&scene.fill(sql), &[]).await {
            Ok(rows) => {
                for row in &rows {
                    for column in 0..row.len() {
                        outcome.seen.extend(row.get::<_, Bytes>(column).0);
                        outcome.seen.push(0);
                    }
                }
            }
            Err(error) => {
                let state = error.sqlstate().unwrap_or("client").to_owned();
                outcome.refused = Some((step, state, format!("{error:?}")));
                return outcome;
            }
        }
    }
    if let Err(error) = tx.commit().await {
        let state = error.sqlstate().unwrap_or("client").to_owned();
        outcome.refused = Some((attack.sql.len(), state, format!("{error:?}")));
    }
    outcome
}

/// By the simple protocol, which takes several statements at once.
async fn as_login(scene: &Scene, attack: &Attack) -> Outcome {
    let (client, heard) = scene.login(&scene.me.login).await;
    let mut outcome = Outcome { refused: None, seen: Vec::new() };
    for (step, sql) in attack.sql.iter().enumerate() {
        match simple(&client, &scene.fill(sql)).await {
            Ok(values) => values.iter().for_each(|value| outcome.seen.extend(value.bytes().chain([0]))),
            Err((state, text)) => {
                outcome.refused = Some((step, state, text));
                break;
            }
        }
    }
    heard.take().iter().for_each(|message| outcome.seen.extend(message.bytes()));
    outcome
}

#[test]
fn the_corpus_is_large_and_says_why() {
    let all = all();
    assert!(all.len() >= 90, "{} attacks", all.len());
    let mut seen = std::collections::HashSet::new();
    for attack in &all {
        assert!(attack.why.len() >= 9, "{:?} has a reason", attack.sql);
        assert!(seen.insert(attack.sql), "{:?} is there once", attack.sql);
        assert!(attack.leaves.is_empty() || !attack.undo.is_empty(), "{:?} is undone", attack.sql);
    }
    let groups: std::collections::BTreeSet<&str> = all.iter().map(|a| a.group).collect();
    assert!(groups.len() >= 25, "{groups:?}");
}
