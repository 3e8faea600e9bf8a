//! An API server that answers from a script: for faults that a real one does not have on demand.

mod proof;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::ready,
    stream::{empty, once, pending},
};
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody};
use kube::client::Body;
use manifest::{Digest, GroupKind, ObjectRef};
use plan::{Action, ApplySetId, Change, Conflicts, SyncRef, Wave};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tower::{BoxError, service_fn};

use crate::{
    Cluster, Identity, Resource, WatchEvent, WatchTarget, Watched,
    apply::{Context, Done, Failure, Lane, Novelty, Retry},
};

/// What the server does with one request.
enum Answer {
    Json(u16, Value),
    /// Sent as it is; the body ends where the text ends.
    Text(String),
    /// A watch that is open and says nothing.
    Silence,
    /// A watch that says nothing for this many seconds, then this, and ends.
    SilentFor(u64, String),
    RetryAfter(u64),
    /// No answer: the connection is cut.
    Cut,
    /// No answer at all.
    Never,
}

type Script = Arc<Mutex<VecDeque<Answer>>>;
type Seen = Arc<Mutex<Vec<String>>>;

async fn cluster(answers: impl IntoIterator<Item = Answer>) -> (Cluster, Seen) {
    let start = [
        Answer::Json(200, json!({"metadata": {"uid": "cluster-1"}})),
        Answer::Json(200, json!({"kind": "APIGroupDiscoveryList", "items": []})),
        Answer::Json(200, json!({"kind": "APIGroupDiscoveryList", "items": []})),
    ];
    let script: Script = Arc::new(Mutex::new(start.into_iter().chain(answers).collect()));
    let seen = Seen::default();
    let requests = seen.clone();
    let service = service_fn(move |request: Request<Body>| {
        requests.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let answer = script.lock().unwrap().pop_front();
        async move {
            let stays_open = matches!(answer, Some(Answer::Silence));
            let silence = if let Some(Answer::SilentFor(seconds, _)) = answer { seconds } else { 0 };
            let (response, body) = match answer {
                Some(Answer::Json(status, body)) => (Response::builder().status(status), body.to_string()),
                Some(Answer::Text(text) | Answer::SilentFor(_, text)) => (Response::builder(), text),
                Some(Answer::Silence) => (Response::builder(), String::new()),
                Some(Answer::RetryAfter(seconds)) => {
                    (Response::builder().status(429).header("retry-after", seconds), String::new())
                }
                Some(Answer::Cut) => return Err("connection reset".into()),
                // At its end the script is that of a server that never answers.
                Some(Answer::Never) | None => std::future::pending().await,
            };
            let end = if stays_open { pending().left_stream() } else { empty().right_stream() };
            let wait = once(tokio::time::sleep(Duration::from_secs(silence))).filter_map(|()| ready(None));
            let body = wait.chain(BodyStream::new(Body::from(body.into_bytes()))).chain(end);
            Ok::<_, BoxError>(response.body(StreamBody::new(body))?)
        }
    });
    let cluster = Cluster::with_client(kube::Client::new(service, "default")).await.unwrap();
    seen.lock().unwrap().clear();
    (cluster, seen)
}

fn config_maps() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        scope: manifest::Scope::Namespaced,
    }
}

fn config_map(version: u32) -> Value {
    json!({"metadata": {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": version.to_string()}})
}

async fn apply(cluster: &Cluster, sensitive: bool) -> (Result<Done, Failure>, u64) {
    apply_within(cluster, sensitive, Duration::from_secs(300)).await
}

async fn apply_within(cluster: &Cluster, sensitive: bool, timeout: Duration) -> (Result<Done, Failure>, u64) {
    let body: Arc<[u8]> = b"{}".as_slice().into();
    let change = Change {
        reference: ObjectRef {
            cluster: cluster.id().clone(),
            group_kind: GroupKind::new("", "ConfigMap"),
            namespace: Some("shop".into()),
            name: "a".into(),
        },
        api_version: "v1".into(),
        action: Action::Create { conflicts: Conflicts::Refuse },
        wave: Wave::Configuration,
        digest: Some(Digest::of(&body)),
        body: Some(body),
        differences: Vec::new(),
        sensitive,
    };
    let context = Context {
        cluster,
        identity: Identity::service_account("shop", "deployer"),
        lane: Lane::Rollout,
        part_of: ApplySetId::of(&SyncRef { namespace: "shop".into(), name: "web".into() }),
        deadline: Instant::now() + timeout,
        timeout_fix: "raise spec.timeout".into(),
    };
    context.make(&change, &config_maps(), Novelty::Known).await
}

#[tokio::test(start_paused = true)]
async fn overload_is_waited_out_as_long_as_the_server_asks() {
    let (cluster, seen) = cluster([
        Answer::RetryAfter(7),
        Answer::Json(503, json!({"reason": "ServiceUnavailable"})),
        Answer::Cut,
        Answer::Json(201, config_map(5)),
    ])
    .await;
    let started = Instant::now();
    let (result, writes) = apply(&cluster, false).await;
    assert!(matches!(result, Ok(Done::Created { made: Some(_), .. })), "{result:?}");
    assert_eq!((writes, seen.lock().unwrap().len()), (4, 4));
    assert!(started.elapsed() >= Duration::from_secs(7));
    assert_eq!(
        seen.lock().unwrap()[0],
        "PATCH /api/v1/namespaces/shop/configmaps/a?fieldManager=writ&fieldValidation=Strict&force=false"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_as_one() {
    let (cluster, seen) =
        cluster((0..20).map(|_| Answer::Json(503, json!({"message": "etcdserver: no leader"})))).await;
    let (result, _) = apply(&cluster, false).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.finding.code.code, failure.retry), ("A106", Retry::Later));
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_an_object_is_not_tried_again() {
    let invalid = || {
        Answer::Json(
            422,
            json!({"reason": "Invalid", "message": "data.k: Invalid value: \"hunter2\"",
                   "details": {"causes": [{"reason": "FieldValueInvalid", "field": "data.k", "message": "hunter2"}]}}),
        )
    };
    let (cluster, seen) = cluster([invalid(), invalid()]).await;
    let failure = apply(&cluster, false).await.0.unwrap_err();
    assert_eq!((failure.finding.code.code, failure.retry), ("A101", Retry::AfterMending));
    assert!(failure.finding.found.contains("hunter2"));
    // The same about a Secret: reason and field only.
    let failure = apply(&cluster, true).await.0.unwrap_err();
    assert!(!failure.finding.to_string().contains("hunter2"), "{}", failure.finding);
    assert!(failure.finding.to_string().contains("data.k"), "{}", failure.finding);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let (cluster, _) = cluster([]).await;
    let failure = apply(&cluster, false).await.0.unwrap_err();
    assert!(matches!(failure.finding.code.code, "A106" | "A110"), "{}", failure.finding);
}

#[tokio::test(start_paused = true)]
async fn a_roll_out_whose_time_is_over_says_so() {
    let outage = || Answer::Json(503, json!({"message": "etcdserver: no leader"}));
    let (cluster, _) = cluster((0..20).map(|_| outage())).await;
    let failure = apply_within(&cluster, false, Duration::from_millis(300)).await.0.unwrap_err();
    assert_eq!((failure.finding.code.code, failure.retry), ("A110", Retry::Later));
    assert_eq!(failure.finding.fix, "raise spec.timeout");
}

#[tokio::test(start_paused = true)]
async fn an_object_waits_for_its_namespace_to_be_gone() {
    let causes = json!([{"reason": "NamespaceTerminating", "message": "namespace shop is being terminated"}]);
    let answer =
        json!({"reason": "Forbidden", "message": "unable to create new content", "details": {"causes": causes}});
    let (cluster, seen) = cluster([Answer::Json(403, answer)]).await;
    let failure = apply(&cluster, false).await.0.unwrap_err();
    assert_eq!((failure.finding.code.code, failure.retry), ("A109", Retry::Later));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

/// Code and fix of an apply by `shop:deployer` that is denied in these words, and how the server calls writ, if it says so.
async fn denied(words: &str, own: Option<&str>) -> (&'static str, String) {
    let who = own.map_or_else(
        || Answer::Json(404, json!({"reason": "NotFound"})),
        |own| Answer::Json(201, json!({"status": {"userInfo": {"username": own}}})),
    );
    let (cluster, _) = cluster([Answer::Json(403, json!({"reason": "Forbidden", "message": words})), who]).await;
    let finding = apply(&cluster, false).await.0.unwrap_err().finding;
    (finding.code.code, finding.fix.into())
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_for_whom_writ_knows_and_for_nobody_that_a_message_names() {
    const WRIT: &str = "system:serviceaccount:writ-system:writ";
    const DEPLOYER: &str = "system:serviceaccount:shop:deployer";
    const EVIL: &str = "system:serviceaccount:evil:x";
    let may_not_patch =
        |user: &str| format!("configmaps \"a\" is forbidden: User \"{user}\" cannot patch resource \"configmaps\"");
    let may_not_act = |user: &str| {
        format!(
            "serviceaccounts \"deployer\" is forbidden: User \"{user}\" cannot impersonate resource \"serviceaccounts\""
        )
    };
    let hook = |words: String| format!("admission webhook \"hook.evil\" denied the request: {words}");
    let to = |account: &str| format!("--serviceaccount={account} -n shop");
    for (words, own, code, fix) in [
        (may_not_patch(DEPLOYER), None, "A105", to("shop:deployer")),
        (may_not_act(WRIT), Some(WRIT), "A105", to("writ-system:writ")),
        (may_not_act(WRIT), None, "A105", to("NAMESPACE:NAME")),
        (
            may_not_act(WRIT).replace("impersonate", "impersonate-on:serviceaccount:patch"),
            Some(WRIT),
            "A105",
            to("writ-system:writ"),
        ),
        (may_not_patch(EVIL), None, "A101", "correct the object in Git".to_owned()),
        (may_not_act(EVIL), Some(WRIT), "A101", "correct the object in Git".to_owned()),
        (hook(may_not_act(EVIL)), Some(WRIT), "A101", "correct the object in Git".to_owned()),
        (hook(may_not_act(WRIT)), Some(WRIT), "A101", "correct the object in Git".to_owned()),
        (hook(may_not_patch(DEPLOYER)), None, "A101", "correct the object in Git".to_owned()),
        (
            hook(format!("User \"{EVIL}\" cannot impersonate anybody")),
            None,
            "A101",
            "correct the object in Git".to_owned(),
        ),
        (hook(format!("User \"{EVIL}\" cannot patch anything")), None, "A101", "correct the object in Git".to_owned()),
    ] {
        let (said, printed) = denied(&words, own).await;
        assert_eq!(said, code, "{words}: {printed}");
        assert!(printed.contains(&fix) && !printed.contains("evil"), "{words}: {printed}");
    }
}

#[tokio::test]
async fn a_server_without_aggregated_discovery_is_refused_by_name() {
    let answers = [json!({"metadata": {"uid": "c"}}), json!({"kind": "APIVersions", "versions": ["v1"]})];
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = service_fn(move |_request: Request<Body>| {
        let body = answers.lock().unwrap().pop_front().unwrap().to_string().into_bytes();
        async move { Ok::<_, BoxError>(Response::new(Body::from(body))) }
    });
    let error = Cluster::with_client(kube::Client::new(service, "default")).await.unwrap_err();
    assert_eq!(error.finding().code.code, "A111", "{}", error.finding());
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn bookmark(version: u32, ends_list: bool) -> String {
    let annotations = if ends_list { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
    line("BOOKMARK", &json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}))
}

fn word(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Applied(sighting) => format!("applied@{}", sighting.resource_version),
        WatchEvent::Deleted { resource_version, .. } => format!("deleted@{resource_version}"),
        WatchEvent::Synced => "synced".into(),
        WatchEvent::Gap => "gap".into(),
        WatchEvent::Failing(finding) => format!("failing {}", finding.found),
        WatchEvent::Restored => "restored".to_owned(),
        WatchEvent::Listed(sighting) => format!("listed@{}", sighting.resource_version),
        WatchEvent::Proved { resource_version } => format!("proved@{resource_version}"),
        WatchEvent::Unproved(why) => format!("unproved {why}"),
    }
}

/// Runs a watch until `count` events have come.
async fn watch(answers: impl IntoIterator<Item = Answer>, count: usize) -> (Vec<String>, Vec<String>) {
    let (cluster, seen) = cluster(answers).await;
    let (sender, mut events) = mpsc::channel::<Watched>(1);
    let watch = cluster.watch(WatchTarget::all(config_maps()), sender);
    let mut words = Vec::new();
    while words.len() < count {
        let event = tokio::time::timeout(Duration::from_secs(3600), events.recv()).await;
        words.push(word(&event.unwrap_or_else(|_| panic!("only {words:?}")).unwrap().event));
    }
    drop(watch);
    let queries = seen.lock().unwrap().iter().map(|request| request.split_once('?').unwrap().1.to_owned()).collect();
    (words, queries)
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_goes_on_from_its_version() {
    let first = [
        line("ADDED", &config_map(3)),
        bookmark(4, true),
        line("MODIFIED", &config_map(5)),
        r#"{"type":"MODIFIED","obj"#.to_owned(),
    ];
    let second = [line("MODIFIED", &config_map(6)), line("DELETED", &config_map(7))];
    let (words, queries) = watch([Answer::Text(first.concat()), Answer::Cut, Answer::Text(second.concat())], 5).await;
    assert_eq!(words, ["applied@3", "synced", "applied@5", "applied@6", "deleted@7"]);
    assert!(queries[0].contains("sendInitialEvents=true"));
    assert!(queries[1].contains("resourceVersion=5") && queries[2].contains("resourceVersion=5"), "{queries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_means_a_new_list() {
    let first = [bookmark(4, true), line("ERROR", &json!({"code": 410, "reason": "Expired"}))];
    let second = [line("ADDED", &config_map(9)), bookmark(9, true)];
    let answers = [
        Answer::Text(first.concat()),
        Answer::Text(second.concat()),
        Answer::Json(410, json!({"reason": "Expired"})),
        Answer::Text(bookmark(12, true)),
    ];
    let (words, _) = watch(answers, 6).await;
    assert_eq!(words, ["synced", "gap", "applied@9", "synced", "gap", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn without_streaming_lists_pages_are_read() {
    let page = |version: u32, next: &str| {
        Answer::Json(
            200,
            json!({"metadata": {"resourceVersion": "8", "continue": next}, "items": [config_map(version)]}),
        )
    };
    let answers = [
        Answer::Json(422, json!({"reason": "Invalid", "message": "sendInitialEvents is forbidden"})),
        page(3, "more"),
        page(4, ""),
        Answer::Text(line("MODIFIED", &config_map(9))),
    ];
    let (words, queries) = watch(answers, 4).await;
    assert_eq!(words, ["applied@3", "applied@4", "synced", "applied@9"]);
    assert!(queries[2].contains("continue=more"));
    assert!(queries[3].contains("resourceVersion=8"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_is_delivered_again_and_a_lasting_failure_is_reported_once() {
    let forbidden = || Answer::Json(403, json!({"reason": "Forbidden", "message": "cannot watch configmaps"}));
    let answers = std::iter::once(Answer::Text(line("ADDED", &config_map(3))))
        .chain((0..12).map(|_| forbidden()))
        .chain([Answer::Text([line("ADDED", &config_map(3)), bookmark(4, true)].concat())]);
    let (words, _) = watch(answers, 6).await;
    assert_eq!(words, ["applied@3", "gap", "failing cannot watch configmaps", "applied@3", "restored", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_soon_back_is_no_news() {
    // Four failures are 1.5 s.
    let restart = || (0..4).map(|_| Answer::Cut).chain([Answer::Silence]);
    let (cluster, seen) = cluster([Answer::Text(bookmark(4, true))].into_iter().chain(restart())).await;
    let (sender, mut events) = mpsc::channel::<Watched>(1);
    let _watch = cluster.watch(WatchTarget::all(config_maps()), sender);
    assert_eq!(word(&events.recv().await.unwrap().event), "synced");
    let next = tokio::time::timeout(Duration::from_secs(60), events.recv()).await;
    assert!(next.is_err(), "{next:?}");
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn two_short_outages_are_not_one_long_one() {
    // Each is some 1 s; between them the watch is open for 30 s, and nothing is said.
    let outage = || (0..3).map(|_| Answer::Cut);
    let answers = [Answer::Text(bookmark(4, true))].into_iter().chain(outage());
    let answers = answers.chain([Answer::SilentFor(30, String::new())]).chain(outage()).chain([Answer::Silence]);
    let (cluster, seen) = cluster(answers).await;
    let (sender, mut events) = mpsc::channel::<Watched>(1);
    let _watch = cluster.watch(WatchTarget::all(config_maps()), sender);
    assert_eq!(word(&events.recv().await.unwrap().event), "synced");
    let next = tokio::time::timeout(Duration::from_secs(120), events.recv()).await;
    assert!(next.is_err(), "{next:?}");
    assert_eq!(seen.lock().unwrap().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_reported_works_again_once_it_is_open() {
    let answers =
        [Answer::Text(bookmark(4, true)), Answer::Never, Answer::Never, Answer::Text(String::new()), Answer::Silence];
    let (words, queries) = watch(answers, 3).await;
    assert_eq!(words, ["synced", "failing no answer within 40 s", "restored"]);
    assert_eq!(queries.len(), 5, "{queries:?}");
}

/// An open watch is believed once; a server that opens each and never says anything is reported.
#[tokio::test(start_paused = true)]
async fn watches_that_stay_silent_one_after_the_other_are_reported() {
    let silent = || (0..4).map(|_| Answer::Silence);
    let answers = [Answer::Text(bookmark(4, true))].into_iter().chain(silent());
    let (words, _) = watch(answers, 2).await;
    assert_eq!(words, ["synced", "failing silent for 180 s"]);
}

/// A list whose version is too old at once, as each API server says it: the answer to the next request, an event of a stream
/// that began with a version, an event after the list in its own stream.
fn too_old() -> [Vec<Answer>; 3] {
    let list = || bookmark(4, true);
    let error = || line("ERROR", &json!({"code": 410, "reason": "Expired"}));
    [
        vec![Answer::Text(list()), Answer::Json(410, json!({"code": 410}))],
        vec![Answer::Text(list()), Answer::Text(bookmark(5, false) + &error())],
        vec![Answer::Text(list() + &error())],
    ]
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_again_and_again_is_not_asked_for_without_pause() {
    for form in 0..3 {
        let rounds = (0..10).flat_map(|_| too_old().into_iter().nth(form).unwrap());
        let answers = rounds.chain([Answer::Text(bookmark(8, true)), Answer::Silence]);
        let started = Instant::now();
        let (words, queries) = watch(answers, 23).await;
        // Pauses of 0.1, 0.2, … 6.4, 10 s: the ninth failure comes after 22.7 s, the eighth after 12.7 s.
        let mut expected = ["synced", "gap"].repeat(9);
        expected.push("failing its version is too old as soon as it is listed");
        expected.extend(["synced", "gap", "synced", "restored"]);
        assert_eq!(words, expected, "{form}");
        assert_eq!(queries.len(), 10 * too_old()[form].len() + 2, "{form}");
        // Ten pauses are 42.7 s; 15 s later the version of the last list has lasted.
        assert_eq!(started.elapsed().as_secs(), 57, "{form}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_served_for_a_while_may_be_too_old() {
    let error = line("ERROR", &json!({"code": 410}));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.extend([Answer::Text(bookmark(4, true)), Answer::SilentFor(20, error.clone())]);
    }
    let started = Instant::now();
    let (words, _) = watch(answers, 8).await;
    assert_eq!(words, ["synced", "gap"].repeat(4));
    assert_eq!(started.elapsed().as_secs(), 80, "no pause");
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_taken_for_dead() {
    // The first stream never says anything after its list; the client notices and resumes.
    let answers =
        [Answer::Text(bookmark(4, true)), Answer::Text(String::new()), Answer::Text(line("ADDED", &config_map(5)))];
    let (words, queries) = watch(answers, 2).await;
    assert_eq!(words, ["synced", "applied@5"]);
    assert!(queries[2].contains("resourceVersion=4"));
}
