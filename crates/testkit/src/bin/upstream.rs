//! The [local provider](testkit::upstream) as a program, for clients that are not written in Rust and for measurements: prints where it listens
//! and serves until it is killed. `upstream [ADDRESS]`; without one a free port of this machine is taken.
#![expect(clippy::print_stdout, reason = "a program that tells where it listens")]

use testkit::upstream::Upstream;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    Upstream::serve(listener).await
}
