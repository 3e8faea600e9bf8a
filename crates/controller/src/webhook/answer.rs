//! What a request is answered. Who does not know the token learns nothing: a source that is not there, one that takes no
//! webhooks and a wrong signature are the same answer after the same work, and only who knows it is ever too fast.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::BodyExt as _;
use jiff::Timestamp;

use super::{
    Hooks,
    limits::{Delivery, Pace},
    lock,
    signature::{Check, Proof, Proven, Token},
};
use crate::{metrics::Metrics, state::Key};

/// Largest body: a push of 2,000 commits, which is what forges list at most, at 2 kB each. It is hashed as it comes and not kept.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;
/// When a forge that was too fast should come again, in seconds.
const RETRY_AFTER: &str = "60";

/// What all requests share.
pub(super) struct Desk {
    hooks: Arc<Hooks>,
    metrics: Arc<Metrics>,
    pace: Mutex<Pace>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The source is polled.
    Accepted,
    /// The same request was there before; nothing is done. A success all the same: to a refusal forges answer by trying
    /// again, and by switching the webhook off.
    Replayed,
    /// Nobody who may.
    Denied,
    /// Genuine, but its time is not now.
    Stale,
    /// Genuine, but one of too many.
    Limited,
    /// Too large.
    TooLarge,
    /// Its body ended early.
    Broken,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Accepted, Self::Replayed, Self::Denied, Self::Stale, Self::Limited, Self::TooLarge, Self::Broken];

    /// Its name as a metric label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Replayed => "replayed",
            Self::Denied => "denied",
            Self::Stale => "stale",
            Self::Limited => "limited",
            Self::TooLarge => "too_large",
            Self::Broken => "broken",
        }
    }

    const fn says(self) -> (StatusCode, &'static str) {
        match self {
            Self::Accepted => (StatusCode::ACCEPTED, "the source is polled\n"),
            Self::Replayed => (StatusCode::OK, "this was there before\n"),
            Self::Denied => (StatusCode::FORBIDDEN, "no source of this name takes this signature\n"),
            Self::Stale => (StatusCode::FORBIDDEN, "the time of the request is more than five minutes from now\n"),
            Self::Limited => (StatusCode::TOO_MANY_REQUESTS, "too many requests\n"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "more than 4 MiB\n"),
            Self::Broken => (StatusCode::BAD_REQUEST, "the body ended early\n"),
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        // A connection has a deadline: one request each.
        let close = [(header::CONNECTION, "close")];
        let again = (self == Self::Limited).then_some([(header::RETRY_AFTER, RETRY_AFTER)]);
        let (status, text) = self.says();
        match again {
            Some(again) => (status, close, again, text).into_response(),
            None => (status, close, text).into_response(),
        }
    }
}

/// `POST /hooks/NAMESPACE/NAME`, and nothing else.
pub(super) fn router(hooks: Arc<Hooks>, metrics: Arc<Metrics>) -> Router {
    routes(Arc::new(Desk { hooks, metrics, pace: Mutex::default() }))
}

fn routes(desk: Arc<Desk>) -> Router {
    Router::new().route("/hooks/{namespace}/{name}", post(answer)).with_state(desk)
}

async fn answer(
    State(desk): State<Arc<Desk>>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Outcome {
    let source = Key { namespace, name };
    let outcome = desk.judge(&source, &headers, body).await;
    // Only sources that are there have a name among the metrics: there is no end to the others.
    let known = desk.hooks.hook(&source).map(|_| &source);
    desk.metrics.sources.webhook(known, outcome);
    if outcome == Outcome::Accepted {
        tracing::debug!(source = %source, "a webhook asks for a poll");
        desk.hooks.hint(source);
    }
    outcome
}

impl Desk {
    async fn judge(&self, source: &Key, headers: &HeaderMap, mut body: Body) -> Outcome {
        let Some(proof) = Proof::of(headers) else { return Outcome::Denied };
        let hook = self.hooks.hook(source);
        let token = hook.as_ref().map_or_else(Token::decoy, |hook| hook.token.clone());
        let mut check = Check::new(proof, token);
        let mut length = 0_usize;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Outcome::Broken };
            let Some(bytes) = frame.data_ref() else { continue };
            length = length.saturating_add(bytes.len());
            if length > MAX_BODY_BYTES {
                return Outcome::TooLarge;
            }
            let wait = lock(&self.pace).wait(bytes.len(), Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            check.update(bytes);
        }
        match (hook, check.end(Timestamp::now())) {
            (None, _) | (_, Proven::Forged) => Outcome::Denied,
            (Some(_), Proven::Stale) => Outcome::Stale,
            (Some(hook), Proven::Genuine(digest)) => match lock(&hook.seen).see(digest, Instant::now()) {
                Delivery::New => Outcome::Accepted,
                Delivery::Replay => Outcome::Replayed,
                Delivery::Limited => Outcome::Limited,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use axum::http::Request;
    use prometheus_client::registry::Registry;
    use tower::ServiceExt as _;

    use super::{super::SecretToken, *};

    const TOKEN: &str = "a token of 24 characters";

    struct World {
        router: Router,
        desk: Arc<Desk>,
        hooks: Arc<Hooks>,
        registry: Registry,
    }

    fn key(name: &str) -> Key {
        Key { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    impl World {
        fn new() -> Self {
            let (hooks, mut registry) = (Arc::new(Hooks::default()), Registry::default());
            let metrics = Arc::new(Metrics::register(&mut registry));
            hooks.know(&key("config"), SecretToken::Read(Token::new(TOKEN.as_bytes())));
            let desk = Arc::new(Desk { hooks: hooks.clone(), metrics, pace: Mutex::default() });
            Self { router: routes(desk.clone()), desk, hooks, registry }
        }

        async fn send(&self, path: &str, token: &str, body: impl Into<Body>) -> (u16, String) {
            let request = Request::post(path).header("x-gitlab-token", token).body(body.into()).unwrap();
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(bytes.to_vec()).unwrap())
        }

        fn counted(&self, source: &str, result: &str) -> bool {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            text.contains(&format!("writ_webhooks_total{{source=\"{source}\",result=\"{result}\"}} "))
        }
    }

    #[tokio::test]
    async fn a_genuine_request_asks_for_one_poll_and_its_replay_for_none() {
        let world = World::new();
        assert_eq!(world.send("/hooks/shop/config", TOKEN, "{}").await.0, 202);
        assert_eq!(world.send("/hooks/shop/config", TOKEN, "{\"after\": 1}").await.0, 202);
        assert_eq!(world.hooks.take_hinted(), BTreeSet::from([key("config")]));
        assert_eq!(world.send("/hooks/shop/config", TOKEN, "{}").await.0, 200);
        assert_eq!(world.hooks.take_hinted(), BTreeSet::new());
        assert!(world.counted("shop/config", "accepted") && world.counted("shop/config", "replayed"));
    }

    #[tokio::test]
    async fn who_does_not_know_the_token_learns_nothing() {
        let world = World::new();
        let wrong = world.send("/hooks/shop/config", "another token, 24 long..", "{}").await;
        let unknown = world.send("/hooks/shop/nothing", TOKEN, "{}").await;
        assert_eq!((wrong.0, &wrong), (403, &unknown));
        let bare = Request::post("/hooks/shop/config").body(Body::empty()).unwrap();
        assert_eq!(world.router.clone().oneshot(bare).await.unwrap().status(), 403);
        assert_eq!(world.hooks.take_hinted(), BTreeSet::new());
        assert!(world.counted("shop/config", "denied") && world.counted("", "denied"));
        assert!(!world.counted("shop/nothing", "denied"));
    }

    #[tokio::test]
    async fn a_stranger_is_never_too_fast_and_takes_nothing_from_who_is_genuine() {
        let world = World::new();
        for _ in 0..1_000 {
            for path in ["/hooks/shop/config", "/hooks/shop/nothing"] {
                assert_eq!(world.send(path, "another token, 24 long..", "{}").await.0, 403);
            }
        }
        let mut sent = 0;
        while world.send("/hooks/shop/config", TOKEN, format!("{{\"after\": {sent}}}")).await.0 == 202 {
            sent += 1;
        }
        assert!((30..40).contains(&sent), "{sent}");
        assert!(world.counted("shop/config", "limited"));
        assert_eq!(world.send("/hooks/shop/config", TOKEN, "{\"after\": 0}").await.0, 200);
        assert_eq!(world.send("/hooks/shop/config", "another token, 24 long..", "{}").await.0, 403);
        assert!(!world.counted("", "limited"));
    }

    #[tokio::test]
    async fn bodies_have_a_pace_whether_there_is_a_source_or_not() {
        for path in ["/hooks/shop/config", "/hooks/shop/nothing"] {
            let (world, begin) = (World::new(), Instant::now());
            // As if others had sent so much already: a second and a half's worth, of which 8 MB are ahead.
            lock(&world.desk.pace).wait(60_000_000, begin);
            assert_eq!(world.send(path, "another token, 24 long..", "{}").await.0, 403);
            assert!(begin.elapsed() > Duration::from_secs(1), "{path} {:?}", begin.elapsed());
        }
    }

    #[tokio::test]
    async fn other_requests_are_not_taken() {
        let world = World::new();
        assert_eq!(world.send("/hooks/shop/config", TOKEN, vec![b' '; MAX_BODY_BYTES + 1]).await.0, 413);
        assert_eq!(world.send("/hooks/shop/config", TOKEN, vec![b' '; MAX_BODY_BYTES]).await.0, 202);
        assert_eq!(world.send("/hooks/shop", TOKEN, "{}").await.0, 404);
        assert_eq!(world.send("/metrics", TOKEN, "{}").await.0, 404);
        let get = Request::get("/hooks/shop/config").body(Body::empty()).unwrap();
        assert_eq!(world.router.clone().oneshot(get).await.unwrap().status(), 405);
    }
}
