//! The requests: one after another, tried again when the network was at fault.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use tokio::runtime::Runtime;

use super::answer::{Identity, Listed, Listing};
use super::{FetchError, Progress, Wanted};
use crate::net;

const HUB: &str = "https://huggingface.co";

/// Attempts at a request, and the pause before the second, which doubles.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes between two looks at the progress.
const BUFFER: usize = 1 << 20;

/// What the hub says of an error in words. Its pages of HTML are not shown.
const MESSAGE: &str = "x-error-message";

pub(super) struct Client<'a> {
    wanted: &'a Wanted<'a>,
    endpoint: String,
    token: Option<HeaderValue>,
    http: reqwest::Client,
    runtime: Runtime,
}

impl<'a> Client<'a> {
    pub fn new(wanted: &'a Wanted) -> Result<Self, FetchError> {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|address| !address.is_empty());
        let endpoint = endpoint.as_deref().unwrap_or(HUB).trim_end_matches('/').to_owned();
        let url = Url::parse(&endpoint).map_err(|error| error.to_string()).and_then(|url| {
            let plain = url.username().is_empty() && url.password().is_none();
            match (url.scheme(), plain) {
                (_, false) => Err("it has credentials in it".to_owned()),
                ("http" | "https", true) if url.has_host() => Ok(url),
                _ => Err("it begins with neither `https://` nor `http://`".to_owned()),
            }
        });
        // What can't be read may hold anything, and is not repeated.
        let url = url.map_err(|why| FetchError::Endpoint { endpoint: "HF_ENDPOINT".into(), why })?;
        let token = wanted.token.map(|variable| secret(variable, wanted, &url)).transpose()?;
        net::use_ring();
        let http = reqwest::Client::builder()
            .user_agent(net::AGENT)
            .connect_timeout(net::CONNECT)
            .read_timeout(net::SILENCE)
            .redirect(Policy::custom(|attempt| {
                let from_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
                if from_secure && attempt.url().scheme() != "https" {
                    return attempt.error("it was sent on to a place without encryption");
                }
                Policy::default().redirect(attempt)
            }))
            .build();
        let bad = |why: String| FetchError::Unreachable { endpoint: endpoint.clone(), why };
        let http = http.map_err(|error| bad(reason(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| bad(error.to_string()))?;
        Ok(Self { wanted, endpoint, token, http, runtime })
    }

    /// Commit and files of the wanted revision.
    pub fn listing(&self) -> Result<Listing, FetchError> {
        let revision = self.wanted.revision.replace('/', "%2F");
        let path = format!("api/models/{}/revision/{revision}?blobs=true", self.wanted.model);
        let answer = self.again(|| {
            self.runtime.block_on(async {
                let response = self.get(&path, 0).await?;
                response.bytes().await.map_err(|error| self.unreachable(&error))
            })
        })?;
        Listing::read(&answer).map_err(|why| FetchError::BadAnswer { endpoint: self.endpoint.clone(), why })
    }

    /// One file into `directory`, unless it is there.
    pub fn file(
        &self,
        commit: &str,
        file: &Listed,
        directory: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), FetchError> {
        let (whole, part) = (directory.join(&file.name), directory.join(format!("{}.part", file.name)));
        if whole.is_file() {
            return Ok(());
        }
        let path = format!("{}/resolve/{commit}/{}", self.wanted.model, file.name);
        self.again(|| {
            let here = fs::metadata(&part).map_or(0, |metadata| metadata.len());
            // One that is too long can't be gone on with.
            let here = if here > file.size { 0 } else { here };
            if here < file.size || file.size == 0 {
                self.runtime.block_on(self.download(&path, file, &part, here, progress))?;
            }
            Ok(())
        })?;
        if let Err(why) = verify(&part, file).map_err(FetchError::io("read", &part))? {
            fs::remove_file(&part).map_err(FetchError::io("remove", &part))?;
            return Err(FetchError::Damaged { model: self.wanted.model.to_owned(), file: file.name.clone(), why });
        }
        fs::rename(&part, &whole).map_err(FetchError::io("write", &whole))
    }

    async fn download(
        &self,
        path: &str,
        file: &Listed,
        part: &Path,
        here: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), FetchError> {
        let mut response = self.get(path, here).await?;
        // A server that does not know ranges begins again.
        let mut done = if response.status() == StatusCode::PARTIAL_CONTENT { here } else { 0 };
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(done == 0).append(done > 0);
        let mut out = options.open(part).map_err(FetchError::io("write", part))?;
        progress(Progress { file: &file.name, done, size: file.size });
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            // More than there is to come would fill the disk.
            let left = usize::try_from(file.size - done).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(left + 1)];
            out.write_all(chunk).map_err(FetchError::io("write", part))?;
            done += chunk.len() as u64;
            if done > file.size {
                break;
            }
            progress(Progress { file: &file.name, done, size: file.size });
        }
        out.sync_all().map_err(FetchError::io("write", part))?;
        if done < file.size {
            let why = format!("{} ended after {done} of {} bytes", file.name, file.size);
            return Err(FetchError::Unreachable { endpoint: self.endpoint.clone(), why });
        }
        Ok(())
    }

    async fn get(&self, path: &str, from: u64) -> Result<Response, FetchError> {
        let mut request = self.http.get(format!("{}/{path}", self.endpoint));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = response.headers().get(MESSAGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let why = said.unwrap_or_else(|| format!("it answers {status}"));
        let model = self.wanted.model.to_owned();
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FetchError::Refused { model, why },
            StatusCode::NOT_FOUND => FetchError::NotFound { model, revision: self.wanted.revision.to_owned(), why },
            _ => FetchError::Unreachable { endpoint: self.endpoint.clone(), why },
        })
    }

    /// Tries a request again when what went wrong may pass.
    fn again<T>(&self, mut request: impl FnMut() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match request() {
                Err(error) if error.passes() => {}
                result => return result,
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        request()
    }

    fn unreachable(&self, error: &reqwest::Error) -> FetchError {
        FetchError::Unreachable { endpoint: self.endpoint.clone(), why: reason(error) }
    }
}

/// The header with a token. It is sent where nobody else can read it: over TLS, or within this machine.
fn secret(variable: &str, wanted: &Wanted, endpoint: &Url) -> Result<HeaderValue, FetchError> {
    let (variable, model) = (variable.to_owned(), wanted.model.to_owned());
    let token = std::env::var(&variable).unwrap_or_default();
    if token.trim().is_empty() {
        return Err(FetchError::NoSecret { variable, model });
    }
    let here = endpoint.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    if endpoint.scheme() != "https" && !here {
        return Err(FetchError::Insecure { endpoint: endpoint.to_string(), model });
    }
    let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
    let mut header = header.map_err(|_| FetchError::BadSecret { variable })?;
    header.set_sensitive(true);
    Ok(header)
}

/// The innermost cause: the outer ones repeat the address.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether a file is what the hub lists; why not, if not.
fn verify(path: &Path, file: &Listed) -> std::io::Result<Result<(), String>> {
    let size = fs::metadata(path)?.len();
    if size != file.size {
        return Ok(Err(format!("{size} bytes in place of {}", file.size)));
    }
    let (mut context, expected, name) = match &file.identity {
        Identity::Sha256(expected) => (Context::new(&SHA256), expected, "SHA-256"),
        Identity::Git(expected) => {
            let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {size}\0").as_bytes());
            (context, expected, "git object")
        }
    };
    let mut reader = File::open(path)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let found: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(if found.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(format!("its {name} is {found} in place of {expected}"))
    })
}
