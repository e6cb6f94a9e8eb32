use super::*;

fn queue_of(state: &mut State, config: &AccessConfig, cell: i32, tenant: TenantId) -> Arc<Semaphore> {
    let cell = state.cells.entry(CellId(cell)).or_insert_with(|| Cell::new(config));
    let share = cell.tenants.entry(tenant).or_insert_with(|| Share {
        permits: Arc::new(Semaphore::new(1)),
        served: None,
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
