//! Whether anything in the cluster carries a label: one small list for each kind.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use manifest::ObjectRef;

use crate::{Cluster, Resource, read::first, request::RequestError};

/// Lists that are asked for at the same time: the API server answers such a list within milliseconds,
/// so a cluster of a thousand kinds is through in a second or two.
const LISTS_AT_A_TIME: usize = 8;

impl Cluster {
    /// An object of any kind that carries a label, if there is one; those of the API group `except` do
    /// not count.
    ///
    /// # Errors
    /// When a kind that can be listed was not: then nothing is known.
    pub async fn labelled(&self, label: &str, value: &str, except: &str) -> Result<Option<ObjectRef>, RequestError> {
        let selector = format!("{label}={value}");
        let discovery = self.discovery();
        let kinds: Vec<Resource> = discovery.kinds().filter(|kind| kind.group != except).cloned().collect();
        let lists = kinds.into_iter().map(|kind| {
            let selector = selector.clone();
            async move {
                match first(self, &kind, &selector).await {
                    // Some kinds can only be created, and some have gone since.
                    Err(error) if matches!(error.status(), Some(404 | 405)) => Ok(None),
                    answer => answer,
                }
            }
        });
        let mut found =
            stream::iter(lists).buffer_unordered(LISTS_AT_A_TIME).try_filter_map(async |one| Ok(one)).boxed();
        found.try_next().await
    }
}
