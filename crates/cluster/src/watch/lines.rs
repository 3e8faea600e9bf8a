//! A body as lines, with a limit on each.

use http_body_util::BodyExt as _;
use kube::client::Body;

/// The longest line: the largest object, and as much again for its envelope and escapes would be
/// absurd; 64 KiB is plenty.
const MAX_LINE_BYTES: usize = crate::request::MAX_OBJECT_BYTES + (64 << 10);

/// Why there is no further line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The connection broke.
    #[error("the stream broke")]
    Broken {
        /// Why.
        source: Box<kube::Error>,
    },
    /// The stream ended within a line.
    #[error("the stream ended within a line")]
    Truncated,
    /// A line is longer than allowed.
    #[error("a line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
}

/// A body that is read line by line.
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Up to where there is no line end.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// The next line without its end; `None` when the body ended between two lines. May be dropped
    /// while waiting: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, LineError> {
        let end = loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                break self.searched + at;
            }
            self.searched = self.buffer.len();
            if self.searched - self.start > MAX_LINE_BYTES {
                return Err(LineError::TooLong);
            }
            // What was handed out is dropped before more is read.
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(source)) => return Err(LineError::Broken { source: Box::new(source) }),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(LineError::Truncated),
            }
        };
        let line = self.start..end;
        self.start = end + 1;
        self.searched = self.start;
        // A single large object must not keep its buffer for ever.
        if self.buffer.capacity() > 1 << 20 && self.buffer.len() == self.start {
            let line = self.buffer.get(line).unwrap_or_default().to_vec();
            self.buffer = line;
            self.start = self.buffer.len();
            self.searched = self.start;
            return Ok(Some(&self.buffer));
        }
        Ok(Some(self.buffer.get(line).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(body: Vec<u8>) -> (Vec<Vec<u8>>, Option<LineError>) {
        let mut lines = Lines::new(Body::from(body));
        let mut found = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => found.push(line.to_vec()),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_split_and_a_torn_one_is_an_error() {
        let (lines, error) = all(b"one\ntwo\n\nthree\n".to_vec()).await;
        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec(), Vec::new(), b"three".to_vec()]);
        assert!(error.is_none());
        let (lines, error) = all(b"one\ntw".to_vec()).await;
        assert_eq!(lines, [b"one".to_vec()]);
        assert!(matches!(error, Some(LineError::Truncated)));
    }

    #[tokio::test]
    async fn a_line_has_a_limit() {
        let (lines, error) = all(vec![b'x'; MAX_LINE_BYTES + 2]).await;
        assert!(lines.is_empty());
        assert!(matches!(error, Some(LineError::TooLong)));
    }

    #[tokio::test]
    async fn a_large_line_is_whole_and_followed_by_the_next() {
        let mut body = vec![b'x'; 2 << 20];
        body.extend_from_slice(b"\nnext\n");
        let (lines, error) = all(body).await;
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [2 << 20, 4]);
        assert!(error.is_none());
    }
}
