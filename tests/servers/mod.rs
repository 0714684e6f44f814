//! Servers that tests start within themselves: S3's protocol, files over HTTP, and the Hugging Face hub's protocol.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod hub;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

/// A server of S3's protocol over a directory whose folders are buckets; it takes requests that are signed with these
/// credentials, until the test ends.
pub fn s3(buckets: &Path, access_key: &str, secret_key: &str) -> SocketAddr {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(buckets).expect("a directory"));
    service.set_auth(SimpleAuth::from_single(access_key, secret_key));
    let service = service.build();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            sender.send(listener.local_addr().expect("bound")).expect("awaited");
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new())
                        .http1_only()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
    });
    receiver.recv().expect("it listens")
}

/// A web server of the files in a directory, and the requests it had.
pub struct Web {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub fn new(files: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(Mutex::new(vec![]));
        let (files, heard) = (files.to_path_buf(), requests.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A client that goes away is no fault of the server.
                let _ = answer(socket, &files, &heard);
            }
        });
        Self { address, requests }
    }

    /// `GET /results/ab/...` in order, since this was last asked.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().expect("no panic"))
    }
}

/// One request a connection.
fn answer(mut socket: TcpStream, files: &Path, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    heard.lock().expect("no panic").push(format!("{method} {path}"));
    let head = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    match (method, fs::read(files.join(path.trim_start_matches('/')))) {
        ("GET", Ok(content)) => {
            socket.write_all(head("200 OK", content.len()).as_bytes())?;
            socket.write_all(&content)
        }
        ("HEAD", Ok(content)) => socket.write_all(head("200 OK", content.len()).as_bytes()),
        ("GET" | "HEAD", Err(_)) => socket.write_all(head("404 Not Found", 0).as_bytes()),
        _ => socket.write_all(head("405 Method Not Allowed", 0).as_bytes()),
    }
}
