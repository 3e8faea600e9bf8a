//! Work off the loop.

use crate::{event::Event, state::State};

impl State {
    /// Runs blocking work and sends its event. A panic becomes the event that `failed` makes of it,
    /// so that nothing waits for an answer that never comes.
    pub(crate) fn blocking(
        &self,
        work: impl FnOnce() -> Event + Send + 'static,
        failed: impl FnOnce(String) -> Event + Send + 'static,
    ) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| failed(panic.to_string()));
            // Nobody listens only when the process ends.
            events.send(event).await.ok();
        });
    }
}
