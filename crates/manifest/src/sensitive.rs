//! Values that must not be shown.

use std::fmt;

/// A value that masks itself wherever it would be printed. It has no `Serialize`: whoever wants it
/// on the wire calls [`expose`](Self::expose) where a reader can see it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Allowed on the apply path and in transport only.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, by value.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Sensitive;

    #[test]
    fn never_prints_its_value() {
        let value = Sensitive::new("hunter2");
        assert_eq!(format!("{value} {value:?} {:?}", Some(&value)), "*** *** Some(***)");
        assert_eq!(*value.expose(), "hunter2");
    }
}
