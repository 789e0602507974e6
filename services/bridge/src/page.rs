//! Serves the built page from its folder. Every answer is revalidated by its content's hash, so that a
//! page built anew is taken up by the next reload.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use protocol::Hash;

/// Largest file of the page, in bytes.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The page's folder.
#[derive(Debug, Clone)]
pub struct Page {
    folder: PathBuf,
}

impl Page {
    /// The page in `folder`, which may be built later.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is missing, in one sentence; `None` when the page can be served.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let index = self.folder.join("index.html");
        (!index.is_file()).then(|| {
            format!(
                "the page is not built, {} is missing: build it with `./just ui`",
                index.display()
            )
        })
    }

    /// Answers a request for `path`.
    pub async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n".to_owned(),
            );
        }
        let Some(relative) = relative(path) else {
            return text(StatusCode::NOT_FOUND, "there is no such file\n".to_owned());
        };
        if relative == Path::new("index.html")
            && let Some(missing) = self.missing()
        {
            return unbuilt(&missing);
        }
        let Some(content) = read(&self.folder.join(&relative)).await else {
            return text(StatusCode::NOT_FOUND, "there is no such file\n".to_owned());
        };
        let tag = format!("\"{}\"", Hash::of(&content));
        let known = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok());
        let unchanged = known.is_some_and(|known| {
            known
                .split(',')
                .any(|one| one.trim().trim_start_matches("W/") == tag)
        });
        let length = content.len();
        let (status, body) = match (unchanged, method == Method::HEAD) {
            (true, _) => (StatusCode::NOT_MODIFIED, Body::empty()),
            (false, true) => (StatusCode::OK, Body::empty()),
            (false, false) => (StatusCode::OK, Body::from(content)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(
            header::ETAG,
            HeaderValue::from_str(&tag).expect("hexadecimal digits"),
        );
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(media_type(&relative)),
        );
        if status == StatusCode::OK && method == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// The file that a path names: plain names only, so that nothing outside the folder can be asked for.
fn relative(path: &str) -> Option<PathBuf> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Some(PathBuf::from("index.html"));
    }
    let legal = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
    };
    path.split('/').all(legal).then(|| PathBuf::from(path))
}

async fn read(file: &Path) -> Option<Vec<u8>> {
    let length = tokio::fs::metadata(file)
        .await
        .ok()
        .filter(std::fs::Metadata::is_file)?
        .len();
    if length > FILE_BYTES_MAX {
        tracing::warn!(file = %file.display(), length, "too large to be part of the page");
        return None;
    }
    tokio::fs::read(file).await.ok()
}

fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn unbuilt(missing: &str) -> Response<Body> {
    let escaped = missing.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>tradewind: no page</title>\
         <h1>The page is not built</h1><p>{escaped}, then reload.</p></html>\n"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A plain answer.
#[must_use]
pub fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_inside_the_folder() {
        assert_eq!(relative("/"), Some("index.html".into()));
        assert_eq!(relative("/pkg/web_ui-1.wasm"), Some("pkg/web_ui-1.wasm".into()));
        for path in [
            "/../token",
            "/.env",
            "/a//b",
            "/a/..",
            "/%2e%2e/token",
            "/a\\b",
            "/C:/x",
            "/a/.git/config",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
    }
}
