//! The HTTP side: who may ask, what browsers are told about safety, and which path is what.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use runtime::now;
use tokio::sync::Semaphore;

use crate::board::Board;
use crate::client::{self, Desk};
use crate::page::{self, Page};

/// What every request is answered from.
#[derive(Debug, Clone)]
pub struct Site {
    desk: Desk,
    page: Page,
    board: Arc<Mutex<Board>>,
    places: Arc<Semaphore>,
    hosts: Arc<[String]>,
    policy: HeaderValue,
}

impl Site {
    /// The site that listens on `address`.
    #[must_use]
    pub fn new(desk: Desk, page: Page, board: Arc<Mutex<Board>>, address: SocketAddr) -> Self {
        let port = address.port();
        let mut hosts = vec![format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        if !address.ip().is_unspecified() && !hosts.contains(&address.to_string()) {
            hosts.push(address.to_string());
        }
        // Old browsers don't count a WebSocket of the same origin as 'self'.
        let sockets: Vec<String> = hosts.iter().map(|host| format!("ws://{host}")).collect();
        let policy = format!(
            "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
             img-src 'self' data:; connect-src 'self' {}; \
             object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            sockets.join(" ")
        );
        let places = Arc::new(Semaphore::new(desk.limits.clients));
        let policy = HeaderValue::from_str(&policy).expect("addresses are plain text");
        Self {
            desk,
            page,
            board,
            places,
            hosts: hosts.into(),
            policy,
        }
    }

    /// All paths.
    pub fn router(self) -> Router {
        Router::new()
            .route("/ws", any(socket))
            .route("/healthz", get(healthz))
            .route("/metrics", get(metrics))
            .fallback(file)
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self)
    }

    fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
    }

    fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        let origin = headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        let host = origin.and_then(|origin| origin.strip_prefix("http://"));
        host.is_some_and(|host| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
    }
}

/// Nobody is answered under another name: a page elsewhere that renames itself to this address reads nothing.
async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response<Body> {
    let mut response = if site.is_own_host(request.headers()) {
        next.run(request).await
    } else {
        let text = format!(
            "this is not the host that was asked for: open http://{}/\n",
            site.hosts[0]
        );
        page::text(StatusCode::FORBIDDEN, text)
    };
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, site.policy);
    response
}

/// A browser sends its page's origin with every WebSocket; one without, or of another page, gets nothing.
async fn socket(State(site): State<Site>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response<Body> {
    if !site.is_own_origin(&headers) {
        let text = format!(
            "only the page of this bridge may connect: open http://{}/\n",
            site.hosts[0]
        );
        return page::text(StatusCode::FORBIDDEN, text);
    }
    let Ok(place) = site.places.clone().try_acquire_owned() else {
        let text = format!(
            "{} browsers are connected, which is bridge.clients_max: close one, or raise it\n",
            site.desk.limits.clients
        );
        return page::text(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let bytes = site.desk.limits.message_bytes;
    upgrade
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .on_upgrade(move |socket| async move {
            client::serve(socket, site.desk).await;
            drop(place);
        })
        .into_response()
}

async fn healthz(State(site): State<Site>) -> Response<Body> {
    let (serves, body) = site
        .board
        .lock()
        .expect("nobody panics while holding it")
        .healthz(now());
    let status = if serves {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = page::text(status, body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn metrics(State(site): State<Site>) -> Response<Body> {
    let body = site
        .board
        .lock()
        .expect("nobody panics while holding it")
        .metrics(now());
    let mut response = page::text(StatusCode::OK, body);
    let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

async fn file(State(site): State<Site>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    site.page.answer(&method, uri.path(), &headers).await
}
