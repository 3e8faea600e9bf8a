//! Turns of the source gates. A gate keeps a thread for as long as its Git server lets it wait, and the log, the renders
//! and name resolution need threads of the same pool.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Semaphore, task::JoinError};

/// Gates that run at once; of the 16 blocking threads of the binary ten are left for everything else. A server that
/// stalls keeps one for up to 20 s (poll), or for 130 s (fetch and its grace). Before that the fetch may wait for its turn:
/// two run at once, one of a namespace, so for 390 s if the servers of all six gates stall.
pub(crate) const MAX_GATES: usize = 6;
/// Gates of one namespace that run at once: two namespaces full of stalled servers leave two turns to all others, and one
/// such namespace leaves a fetch to them.
pub(crate) const MAX_GATES_OF_NAMESPACE: usize = 2;

/// Who may run a gate. Whoever waited longest is next.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    namespaces: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_GATES)), namespaces: Mutex::default() }
    }
}

impl Turns {
    /// Runs blocking work for a source of a namespace when its turn has come.
    ///
    /// # Errors
    /// When the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // The namespace first: who waits for it takes no turn away from others. Nobody ever closes a semaphore.
        let own = self.of(namespace).acquire_owned().await.ok();
        let one = self.all.clone().acquire_owned().await.ok();
        tokio::task::spawn_blocking(move || {
            // Given back when the work ends, also if nobody waits for it any more.
            let _turn = (own, one);
            work()
        })
        .await
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        // A map is whole between any two of its calls.
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Semaphore::new(MAX_GATES_OF_NAMESPACE));
        let turns = namespaces.entry(namespace.to_owned()).or_insert_with(fresh).clone();
        // Only those that somebody uses or waits for are kept.
        namespaces.retain(|_, turns| Arc::strong_count(turns) > 1);
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_namespace_that_nobody_uses_is_forgotten() {
        let turns = Turns::default();
        for namespace in ["a", "b", "c"] {
            assert_eq!(turns.run(namespace, || 1).await.unwrap(), 1);
        }
        assert_eq!(turns.namespaces.lock().unwrap().len(), 1);
        assert!(turns.run("a", || panic!("a bug")).await.is_err());
        assert_eq!(turns.all.available_permits(), MAX_GATES);
    }
}
