//! How much processor time a load takes: a figure that other programs on the machine disturb less than they do the rate.

use std::path::Path;
use std::time::Duration;

/// What this process and all children of the server have used so far.
pub(crate) fn used(server: Option<i32>) -> Duration {
    let own = on_processor("/proc/self/task");
    let Some(server) = server else { return own };
    let Ok(processes) = std::fs::read_dir("/proc") else { return own };
    let backends = processes
        .flatten()
        .filter(|process| parent(&process.path()) == Some(server))
        .map(|process| on_processor(&process.path().join("task").display().to_string()));
    own + backends.sum::<Duration>()
}

/// What a process and all that it has started have used so far.
pub(crate) fn of_tree(root: i32) -> Duration {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Duration::ZERO };
    let all: Vec<(i32, i32)> = processes
        .flatten()
        .filter_map(|process| Some((process.file_name().to_str()?.parse().ok()?, parent(&process.path())?)))
        .collect();
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&process) = tree.get(at) {
        tree.extend(all.iter().filter(|(_, parent)| *parent == process).map(|(child, _)| *child));
        at += 1;
    }
    tree.iter().map(|process| on_processor(&format!("/proc/{process}/task"))).sum()
}

/// The processor time of all threads below a `task` directory.
fn on_processor(tasks: &str) -> Duration {
    let Ok(tasks) = std::fs::read_dir(tasks) else { return Duration::ZERO };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn parent(process: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(process.join("stat")).ok()?;
    // the name in brackets may hold anything, blanks and brackets too
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
