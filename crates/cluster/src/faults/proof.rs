//! Lists beside the stream of a watch, and when a watch was heard last.

use super::*;

/// Everything that comes of a watch that has listed, and of the proof of it: the words after `synced`.
async fn proved(answers: impl IntoIterator<Item = Answer>, count: usize) -> (Vec<String>, Vec<String>) {
    let list = [line("ADDED", &config_map(3)), bookmark(4, true)].concat();
    let (cluster, seen) = cluster([Answer::Text(list), Answer::Silence].into_iter().chain(answers)).await;
    let (sender, mut events) = mpsc::channel::<Watched>(1);
    let watch = cluster.watch(WatchTarget::all(config_maps()), sender.clone());
    while word(&events.recv().await.unwrap().event) != "synced" {}
    // The script answers in the order of requests: the stream goes on before the list begins.
    while seen.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let _proof = cluster.prove(&watch, sender);
    let mut words = Vec::new();
    while words.len() < count {
        words.push(word(&events.recv().await.unwrap().event));
    }
    let requests = seen.lock().unwrap();
    (words, requests.iter().skip(2).map(|request| request.split_once('?').unwrap().1.to_owned()).collect())
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_leaves_out_an_event_is_found_by_the_proof_pass() {
    let page = |version: u32, next: &str| {
        Answer::Json(
            200,
            json!({"metadata": {"resourceVersion": "9", "continue": next}, "items": [config_map(version)]}),
        )
    };
    // The stream is open, and says nothing of version 7.
    let (words, queries) = proved([page(7, "more"), page(8, "")], 3).await;
    assert_eq!(words, ["listed@7", "listed@8", "proved@9"]);
    assert!(queries[0].starts_with("limit=500") && queries[1].contains("continue=more"), "{queries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_refused_says_why_and_leaves_the_watch_alone() {
    let (words, queries) = proved([Answer::Json(403, json!({"reason": "Forbidden", "message": "no"}))], 1).await;
    assert_eq!((words, queries.len()), (vec!["unproved no".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_is_heard_although_it_is_no_event() {
    let lines = [Answer::Text(bookmark(4, true)), Answer::SilentFor(1, bookmark(5, false)), Answer::Silence];
    let (cluster, seen) = cluster(lines).await;
    let (sender, mut events) = mpsc::channel::<Watched>(1);
    let watch = cluster.watch(WatchTarget::all(config_maps()), sender);
    assert_eq!(word(&events.recv().await.unwrap().event), "synced");
    let before = watch.heard();
    // The clock of `heard` is not the one that is paused.
    std::thread::sleep(Duration::from_millis(20));
    while seen.lock().unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(watch.heard() > before);
    assert!(events.try_recv().is_err());
}
