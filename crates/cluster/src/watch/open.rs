//! The requests of a watch: streaming list, page of a list, following watch.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{WatchTarget, lines::Lines};
use crate::request::{Call, MAX_PAGE_BYTES, RequestError, decode, encode, open, send};

/// Objects per page of a list: some 2 MB of Deployments.
const PAGE: u32 = 500;

/// One line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// One line of a watch, understood as far as its type goes.
pub(super) enum Parsed<'a> {
    Applied(&'a [u8]),
    Deleted(&'a [u8]),
    Bookmark { resource_version: String, ends_list: bool },
    Failed { status: u16 },
}

pub(super) fn parse(line: &[u8]) -> Result<Parsed<'_>, serde_json::Error> {
    use serde::de::Error as _;
    let Line { kind, object } = serde_json::from_slice(line)?;
    let object = object.get().as_bytes();
    match kind {
        "ADDED" | "MODIFIED" => Ok(Parsed::Applied(object)),
        "DELETED" => Ok(Parsed::Deleted(object)),
        "BOOKMARK" => {
            let bookmark: Bookmark = serde_json::from_slice(object)?;
            let ends_list = bookmark.metadata.annotations.initial_events_end.as_deref() == Some("true");
            Ok(Parsed::Bookmark { resource_version: bookmark.metadata.resource_version, ends_list })
        }
        "ERROR" => {
            #[derive(Deserialize)]
            struct Status {
                #[serde(default)]
                code: u16,
            }
            let status: Status = serde_json::from_slice(object)?;
            Ok(Parsed::Failed { status: status.code })
        }
        _ => Err(serde_json::Error::custom("unknown type of event")),
    }
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: BookmarkAnnotations,
}

/// `k8s.io/initial-events-end` marks the end of a streaming list.
#[derive(Default, Deserialize)]
struct BookmarkAnnotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<String>,
}

fn selectors(target: &WatchTarget) -> String {
    let mut query = String::new();
    for (name, value) in [("labelSelector", &target.labels), ("fieldSelector", &target.fields)] {
        if let Some(value) = value {
            query.push('&');
            query.push_str(name);
            query.push('=');
            query.push_str(&encode(value));
        }
    }
    query
}

fn collection(target: &WatchTarget) -> String {
    target.resource.path(target.namespace.as_deref(), None)
}

/// Opens a watch that first delivers everything that is there.
pub(super) async fn streaming_list(client: &kube::Client, target: &WatchTarget) -> Result<Lines, RequestError> {
    let path = format!(
        "{}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true{}",
        collection(target),
        selectors(target)
    );
    open(client, &Call::get(path)).await.map(|(_, body)| Lines::new(body))
}

/// Opens a watch of what comes after `resource_version`.
pub(super) async fn follow(
    client: &kube::Client,
    target: &WatchTarget,
    resource_version: &str,
) -> Result<Lines, RequestError> {
    let path = format!(
        "{}?watch=true&allowWatchBookmarks=true&resourceVersion={}{}",
        collection(target),
        encode(resource_version),
        selectors(target)
    );
    open(client, &Call::get(path)).await.map(|(_, body)| Lines::new(body))
}

/// One page of a list.
pub(super) struct Page {
    pub(super) items: Vec<Box<RawValue>>,
    pub(super) resource_version: String,
    pub(super) next: Option<String>,
}

/// Fetches one page of a list.
pub(super) async fn page(
    client: &kube::Client,
    target: &WatchTarget,
    next: Option<&str>,
) -> Result<Page, RequestError> {
    #[derive(Deserialize)]
    struct List {
        metadata: ListMeta,
        /// `null` when there is none.
        items: Option<Vec<Box<RawValue>>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ListMeta {
        resource_version: String,
        #[serde(rename = "continue")]
        next: Option<String>,
    }
    let mut path = format!("{}?limit={PAGE}{}", collection(target), selectors(target));
    if let Some(next) = next {
        path.push_str("&continue=");
        path.push_str(&encode(next));
    }
    let call = Call::get(path).limit(MAX_PAGE_BYTES);
    let answer = send(client, &call).await?;
    let list: List = decode(&call, &answer.body)?;
    let next = list.metadata.next.filter(|next| !next.is_empty());
    Ok(Page { items: list.items.unwrap_or_default(), resource_version: list.metadata.resource_version, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let parsed = |text: &'static str| parse(text.as_bytes());
        assert!(matches!(parsed(r#"{"type":"ADDED","object":{"a":1}}"#), Ok(Parsed::Applied(b"{\"a\":1}"))));
        assert!(matches!(parsed(r#"{"object":{"a":1},"type":"DELETED"}"#), Ok(Parsed::Deleted(_))));
        assert!(matches!(parsed(r#"{"type":"ERROR","object":{"code":410}}"#), Ok(Parsed::Failed { status: 410 })));
        let end = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9",
            "annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        assert!(
            matches!(parsed(end), Ok(Parsed::Bookmark { ends_list: true, resource_version }) if resource_version == "9")
        );
        assert!(matches!(
            parsed(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#),
            Ok(Parsed::Bookmark { ends_list: false, .. })
        ));
        assert!(parsed(r#"{"type":"NEWS","object":{}}"#).is_err());
        assert!(parsed("").is_err());
    }
}
