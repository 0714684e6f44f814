//! From an address to where objects lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::RemoteError;
use crate::net::{self, CONNECT, SILENCE};

/// What [`place`] finds.
pub(super) struct Place {
    pub objects: Arc<dyn ObjectStore>,
    pub name: String,
    pub read_only: bool,
    /// Of a remote that is one.
    pub directory: Option<PathBuf>,
}

pub(super) fn place(address: &str) -> Result<Place, RemoteError> {
    let bad = |why: &str| RemoteError::Address { address: without_credentials(address), why: why.to_owned() };
    if address.is_empty() {
        return Err(bad("it is empty"));
    }
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => return directory(Path::new(address)),
    };
    if rest.contains(['?', '#']) {
        return Err(bad("it has a `?` or `#` in it"));
    }
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('@') {
        return Err(bad("it has credentials in it"));
    }
    let named = |name: &str| name.trim_end_matches('/').to_owned();
    match scheme.as_str() {
        "file" if host.is_empty() => directory(&Path::new("/").join(prefix)),
        "file" => Err(bad("write three slashes: `file:///directory`")),
        "s3" if host.is_empty() => Err(bad("it names no bucket")),
        "s3" => {
            let builder = AmazonS3Builder::from_env().with_bucket_name(host).with_client_options(client(false));
            let allow_http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true" || value == "1");
            let builder = builder.with_allow_http(allow_http).with_retry(retry());
            let s3 = builder.build().map_err(|error| bad(&error.to_string()))?;
            let prefix = object_store::path::Path::parse(prefix.trim_matches('/'));
            let prefix = prefix.map_err(|error| bad(&error.to_string()))?;
            let objects: Arc<dyn ObjectStore> = match prefix.as_ref() {
                "" => Arc::new(s3),
                _ => Arc::new(PrefixStore::new(s3, prefix)),
            };
            Ok(Place { objects, name: named(address), read_only: false, directory: None })
        }
        "http" | "https" if host.is_empty() => Err(bad("it names no host")),
        "http" | "https" => {
            let http = HttpBuilder::new().with_url(named(address)).with_client_options(client(scheme == "http"));
            let http = http.with_retry(retry()).build().map_err(|error| bad(&error.to_string()))?;
            Ok(Place { objects: Arc::new(http), name: named(address), read_only: true, directory: None })
        }
        _ => Err(bad(&format!("`{scheme}` is no kind of remote"))),
    }
}

fn directory(path: &Path) -> Result<Place, RemoteError> {
    let absolute: PathBuf = std::path::absolute(path).map_err(RemoteError::io("find", path))?;
    let prefix = object_store::path::Path::from_absolute_path(&absolute)
        .map_err(|error| RemoteError::Address { address: path.display().to_string(), why: error.to_string() })?;
    let files = LocalFileSystem::new().with_fsync(true);
    let objects = Arc::new(PrefixStore::new(files, prefix));
    Ok(Place { objects, name: absolute.display().to_string(), read_only: false, directory: Some(absolute) })
}

fn client(allow_http: bool) -> ClientOptions {
    net::use_ring();
    // No limit for a request as a whole: contents may be large and lines slow.
    let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT).with_read_timeout(SILENCE);
    options.with_allow_http(allow_http).with_config(ClientConfigKey::UserAgent, net::AGENT)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(200), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(20) }
}

/// An address as it may be shown.
fn without_credentials(address: &str) -> String {
    let (address, query) = match address.find(['?', '#']) {
        Some(at) => (&address[..at], format!("{}***", &address[at..=at])),
        None => (address, String::new()),
    };
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}***{}{query}", &address[..scheme + 3], &address[at..]),
        _ => format!("{address}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> String {
        match place(address) {
            Ok(place) => panic!("{address} is taken as {}", place.name),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        assert!(refused("").contains("empty"));
        assert!(refused("ftp://host/x").contains("`ftp` is no kind of remote"));
        assert!(refused("s3:///prefix").contains("no bucket"));
        assert!(refused("file://host/x").contains("three slashes"));
        assert!(refused("https://host/x?token=1").contains("`?`"));
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        let error = refused("https://user:canary-7731@host/x");
        assert!(error.contains("credentials") && !error.contains("canary-7731"), "{error}");
        let error = refused("https://host/x?token=canary-7731");
        assert!(error.contains("host/x") && !error.contains("canary-7731"), "{error}");
    }

    #[test]
    fn a_directory_may_be_a_path_or_an_address() {
        let names = ["/mnt/results", "file:///mnt/results"].map(|address| place(address).expect("one").name);
        assert_eq!(names, ["/mnt/results", "/mnt/results"]);
    }
}
