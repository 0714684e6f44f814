//! A Hugging Face hub: what `GET /api/models/..` and `GET /NAME/resolve/..` answer, with large files on another host.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use ring::digest;

/// Files from this size on are large: they have a SHA-256, and lie elsewhere.
const LARGE: usize = 4096;

/// A hub with models, and the host of its large files.
pub struct Hub {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What it has, what it heard, and what goes wrong.
#[derive(Default)]
pub struct State {
    /// Files by model.
    pub models: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The commit that every revision stands for.
    pub commit: String,
    /// Who wants a model needs it.
    pub token: Option<String>,
    /// Bytes after which the host of large files ends its next answer.
    pub cut: Option<usize>,
    /// A file that is another when it arrives.
    pub changed: Option<String>,
    /// `GET /path`, and the range that was asked for.
    pub requests: Vec<String>,
    /// Whether the host of large files was ever sent a token.
    pub leaked: bool,
}

struct Request {
    path: String,
    token: Option<String>,
    from: usize,
}

impl Hub {
    pub fn new() -> Self {
        let state = Arc::new(Mutex::new(State { commit: "a1".repeat(20), ..State::default() }));
        let large = serve(state.clone(), |state, request, socket| {
            let state = &mut *state.lock().expect("no panic");
            state.leaked |= request.token.is_some();
            let wanted = request.path.trim_start_matches("/large/").to_owned();
            let (name, mut content) = state.find(&wanted).expect("sent here by the hub");
            if state.changed.as_ref() == Some(&name) {
                content[LARGE / 2] ^= 1;
            }
            let rest = content[request.from.min(content.len())..].to_vec();
            let cut = state.cut.take();
            let status = if request.from > 0 { "206 Partial Content" } else { "200 OK" };
            write!(socket, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len())?;
            socket.write_all(&rest[..cut.unwrap_or(rest.len()).min(rest.len())])
        });
        let address = serve(state.clone(), move |state, request, socket| {
            let (status, header, body) = answer(&state.lock().expect("no panic"), request, large);
            let length = body.len();
            write!(socket, "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
            socket.write_all(&body)
        });
        Self { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Takes in the files of a directory as a model.
    pub fn with(self, name: &str, directory: &Path) -> Self {
        let files = fs::read_dir(directory)
            .expect("a directory")
            .flatten()
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a file")));
        let files = files.collect();
        self.state().models.insert(name.to_owned(), files);
        self
    }

    /// Paths that were asked for, in order, since this was last asked.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }
}

impl State {
    /// Name and content of the large file with this digest.
    fn find(&self, sha256: &str) -> Option<(String, Vec<u8>)> {
        let files = self.models.values().flatten();
        files.map(|(name, content)| (name.clone(), content.clone())).find(|(_, content)| sha256_of(content) == sha256)
    }
}

fn answer(state: &State, request: &Request, large: SocketAddr) -> (&'static str, String, Vec<u8>) {
    let nothing = |status, why: &str| (status, format!("X-Error-Message: {why}\r\n"), vec![]);
    if state.token.is_some() && request.token != state.token.as_ref().map(|token| format!("Bearer {token}")) {
        return nothing("401 Unauthorized", "Access to this model is restricted.");
    }
    let path = request.path.trim_start_matches('/');
    if let Some((model, rest)) = path.strip_prefix("api/models/").and_then(|path| path.split_once("/revision/")) {
        let known = ["main", "refs%2Fpr%2F1", &state.commit].map(|revision| format!("{revision}?blobs=true"));
        return match state.models.get(model).filter(|_| known.iter().any(|known| known == rest)) {
            Some(files) => ("200 OK", String::new(), listing(&state.commit, files)),
            None => nothing("404 Not Found", "Repository not found"),
        };
    }
    let file = path.split_once("/resolve/").and_then(|(model, rest)| {
        let (commit, file) = rest.split_once('/')?;
        state.models.get(model).filter(|_| commit == state.commit)?.get_key_value(file)
    });
    match file {
        Some((_, content)) if content.len() >= LARGE => {
            ("302 Found", format!("Location: http://{large}/large/{}\r\n", sha256_of(content)), vec![])
        }
        Some((name, content)) => {
            let mut content = content.clone();
            if state.changed.as_ref() == Some(name) {
                content[0] ^= 1;
            }
            ("200 OK", String::new(), content)
        }
        None => nothing("404 Not Found", "Entry not found"),
    }
}

fn listing(commit: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let siblings: Vec<serde_json::Value> = files
        .iter()
        .map(|(name, content)| {
            let object = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
            let blob = hexadecimal(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &object).as_ref());
            let mut one = serde_json::json!({"rfilename": name, "size": content.len(), "blobId": blob});
            if content.len() >= LARGE {
                one["lfs"] =
                    serde_json::json!({"sha256": sha256_of(content), "size": content.len(), "pointerSize": 134});
            }
            one
        })
        .collect();
    serde_json::json!({"sha": commit, "private": false, "siblings": siblings}).to_string().into_bytes()
}

fn sha256_of(content: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, content).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers requests, each on a connection of its own, until the test ends.
fn serve(
    state: Arc<Mutex<State>>,
    answer: impl Fn(&Mutex<State>, &Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (state, answer) = (state.clone(), answer.clone());
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut lines = BufReader::new(socket.try_clone()?).lines();
                let first = lines.next().transpose()?.unwrap_or_default();
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let mut request = Request { path, token: None, from: 0 };
                while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
                    let (name, value) = line.split_once(": ").unwrap_or_default();
                    match &*name.to_ascii_lowercase() {
                        "authorization" => request.token = Some(value.to_owned()),
                        "range" => {
                            let from = value.trim_start_matches("bytes=").trim_end_matches('-');
                            request.from = from.parse().expect("a number");
                        }
                        _ => {}
                    }
                }
                let range = if request.from > 0 { format!(" from {}", request.from) } else { String::new() };
                state.lock().expect("no panic").requests.push(format!("GET {}{range}", request.path));
                // A client that goes away is no fault of the server.
                answer(&state, &request, &mut socket)
            });
        }
    });
    address
}
