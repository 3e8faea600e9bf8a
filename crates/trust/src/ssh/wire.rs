//! The binary form of SSH (RFC 4251 §5), read so that each value has exactly one encoding.

/// Reads one value after another; what is left over is asked for with [`Reader::end`].
pub(super) struct Reader<'a>(&'a [u8]);

/// The bytes end early, go on after the end, or encode a number in a longer form than needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        match self.take(1)? {
            [byte] => Ok(*byte),
            _ => Err(Malformed),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_length| Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_length| Malformed)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_too_large| Malformed)?;
        self.take(count)
    }

    /// A positive number, without the zero byte that keeps its sign.
    pub(super) fn positive(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.string()?;
        match bytes {
            [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest),
            [first, ..] if (1..0x80).contains(first) => Ok(bytes),
            // empty is zero; 0x80 and above is negative; any other leading zero is superfluous
            _ => Err(Malformed),
        }
    }

    pub(super) const fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Appends `bytes` with its length before it. No caller has more than a few KiB.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut wire = Vec::new();
        put_string(&mut wire, bytes);
        let mut reader = Reader::new(&wire);
        let value = reader.positive()?.to_vec();
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(number(&[0x7f]), Ok(vec![0x7f]));
        assert_eq!(number(&[0, 0x80]), Ok(vec![0x80]));
        for bytes in [&[][..], &[0], &[0x80], &[0, 1], &[0, 0, 0x80]] {
            assert_eq!(number(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).string(), Err(Malformed));
        assert_eq!(Reader::new(&[0, 0]).u32(), Err(Malformed));
    }
}
