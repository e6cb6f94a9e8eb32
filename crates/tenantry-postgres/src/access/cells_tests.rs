use super::*;

fn queue_of(state: &mut State, config: &AccessConfig, cell: i32, tenant: TenantId) -> Arc<Semaphore> {
    let cell = state.cells.entry(CellId(cell)).or_insert_with(|| Cell::new(config));
    let share = cell.tenants.entry(tenant).or_insert_with(|| Share {
        permits: Arc::new(Semaphore::new(1)),
        part: Part::default(),
        at_work: 0,
        returned: Arc::default(),
    });
    Arc::clone(&share.permits)
}

#[tokio::test]
async fn a_sweep_removes_what_nobody_uses_and_nothing_else() {
    let config = AccessConfig::default();
    let mut state = State::default();
    for n in 0..100 {
        let _ = queue_of(&mut state, &config, n % 10, TenantId::generate());
    }
    let (held, awaited) = (TenantId::generate(), TenantId::generate());
    let permit = queue_of(&mut state, &config, 1, held).acquire_owned().await.unwrap();
    let queue = queue_of(&mut state, &config, 2, awaited);
    let holder = Arc::clone(&queue).acquire_owned().await.unwrap();
    let waiting = tokio::spawn(queue.acquire_owned());
    // Cell 3 has a connection at work, cell 4 somebody who waits for one.
    state.cells.get_mut(&CellId(3)).unwrap().live = 1;
    let at_the_cell = Arc::clone(&state.cells[&CellId(4)].permits);

    state.sweep();
    let cells: Vec<i32> = state.cells.keys().map(|cell| cell.0).collect();
    assert_eq!(cells, [1, 2, 3, 4]);
    assert_eq!(state.queues, 2);
    assert!(state.cells[&CellId(1)].tenants.contains_key(&held));
    assert!(state.cells[&CellId(2)].tenants.contains_key(&awaited));

    drop((permit, holder, at_the_cell));
    drop(waiting.await.unwrap().unwrap());
    state.cells.get_mut(&CellId(3)).unwrap().live = 0;
    state.sweep();
    assert!(state.cells.is_empty());
}

/// The part of a tenant that makes one in `every` requests, after many.
fn part(every: u64) -> Part {
    let mut part = Part::default();
    for clock in (0..=2_000).filter(|clock| clock % every == 0) {
        part.add(clock);
    }
    part
}

#[test]
fn who_has_a_large_part_in_a_cell_is_frequent_until_others_ask() {
    assert!(part(8).is_frequent(2_000) && part(32).is_frequent(2_000));
    assert!(!part(50).is_frequent(2_000) && !part(200).is_frequent(2_000));
    assert!(!Part::default().is_frequent(0));
    // Nobody else asks: it stays so. Others do: it is forgotten, however long the cell has been counting.
    assert!(part(8).is_frequent(2_050));
    assert!(!part(8).is_frequent(2_400) && !part(1).is_frequent(u64::MAX));
}

#[test]
fn the_rare_share_what_was_opened_first_and_the_frequent_take_what_rests() {
    let now = Instant::now() + RESTED;
    let rest = |number, part, ago| Rest { since: now - ago, bound: Some(TenantId::generate()), part, number };
    let (rare, often, moment) = (part(200), part(8), Duration::from_millis(1));
    let chosen = |idle: &[Rest], frequent| spare(idle.iter(), frequent, 2_000, now);

    // In the order of their use: what has rested for longest is first.
    let idle = [rest(7, rare, RESTED / 2), rest(3, rare, moment), rest(1, often, moment), rest(5, rare, moment)];
    assert_eq!(chosen(&idle, false), Some(1));
    assert_eq!(chosen(&idle, true), Some(0));

    // A frequent tenant's is spared, unless it has rested and no other is to be had.
    let owned = [rest(1, often, RESTED), rest(2, often, moment)];
    assert_eq!(chosen(&owned, false), Some(0));
    assert_eq!(chosen(&owned[1..], false), None);
    assert_eq!(chosen(&[owned[0], rest(9, rare, moment)], false), Some(1));
    let bare = Rest { bound: None, ..rest(4, often, moment) };
    assert_eq!(chosen(&[owned[1], bare], true), Some(1));
}
