use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tenantry_embedded::Redis;

/// One command, in the protocol's inline form, and the beginning of its answer.
fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut buffer = [0; 128];
    let length = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_empty_on_its_port() {
    if !Redis::is_installed() {
        return;
    }
    let server = Redis::start().await.unwrap();
    let port = server.port();
    assert_eq!(ask(port, "SET here 1"), "+OK\r\n");
    assert!(ask(port, "GET here").contains('1'));
    server.kill().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let server = Redis::start_on(port).await.unwrap();
    assert_eq!(ask(port, "GET here"), "$-1\r\n");
    server.stop().await;
}
