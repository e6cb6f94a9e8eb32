use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use crate::account::Account;

/// Waits for a line or the end of its input. The end without a line means that the process holding the
/// other side is gone; then the server is signalled, unless its pid meanwhile belongs to another
/// process (field 22 of `/proc/PID/stat` is the start time).
const SCRIPT: &str = r#"
read -r _ && exit 0
[ "$(cut -d' ' -f22 "/proc/$2/stat" 2>/dev/null)" = "$3" ] && kill -s "$1" "$2"
"#;

/// Stops a server when this process is killed, however it is: a small shell that holds the reading end
/// of a pipe. `PR_SET_PDEATHSIG` would do the same, but needs unsafe code and dies with the thread.
#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
}

impl Leash {
    /// Ties the process `pid` to this one: it gets `signal` (a name without `SIG`) when we die.
    pub(crate) fn tie(account: &Account, pid: i32, signal: &str) -> io::Result<Self> {
        let shell = account
            .command("/bin/sh")
            .args(["-c", SCRIPT, "tenantry-leash", signal])
            .arg(pid.to_string())
            .arg(start_time(pid))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group, so that Ctrl-C at the terminal does not end it before us.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // The line lets the shell go without doing anything.
        if let Some(mut stdin) = self.shell.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}

fn start_time(pid: i32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.split(' ').nth(21).unwrap_or_default().to_owned()
}
