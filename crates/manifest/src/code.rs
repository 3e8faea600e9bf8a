//! Stable codes: what a refusal or a drift verdict is called everywhere (condition reason, event
//! reason, metric label, audit field, documentation anchor).
//!
//! Each crate that refuses something declares its own enum with [`codes!`](crate::codes); the
//! register `docs/codes.md` is generated from all of them.

/// One line of the register: a code with its fixed reason and what a person needs to know.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeEntry {
    /// The code itself, such as `W301`. Taken once, never used again.
    pub code: &'static str,
    /// CamelCase reason, such as `Unsigned`: condition reason, event reason and metric label.
    pub reason: &'static str,
    /// What it means, in one or two sentences.
    pub meaning: &'static str,
    /// What to do about it.
    pub action: &'static str,
    /// A message as a person would see it.
    pub example: &'static str,
}

/// Declares an enum of codes. Every variant carries its register entry; `ALL` lists them in order.
///
/// ```
/// manifest::codes! {
///     /// Codes of this example.
///     pub enum ExampleCode {
///         /// A variant is named like its code.
///         M199 = "ExampleReason" {
///             meaning: "An example.",
///             action: "Nothing.",
///             example: "M199 ExampleReason: nothing happened",
///         },
///     }
/// }
/// assert_eq!(ExampleCode::M199.entry().reason, "ExampleReason");
/// ```
#[macro_export]
macro_rules! codes {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $( $(#[$vmeta:meta])* $code:ident = $reason:literal {
        meaning: $meaning:literal, action: $action:literal, example: $example:literal $(,)?
    } ),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $( $(#[$vmeta])* $code ),+ }

        impl $name {
            /// Every code of this enum, in the order of its declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$code ),+ ];

            /// The register entry of this code.
            #[must_use]
            pub const fn entry(self) -> &'static $crate::CodeEntry {
                match self { $( Self::$code => &$crate::CodeEntry {
                    code: stringify!($code), reason: $reason, meaning: $meaning, action: $action, example: $example,
                } ),+ }
            }

            /// The code as it is printed, such as `W301`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { self.entry().code }

            /// The fixed reason, such as `Unsigned`.
            #[must_use]
            pub const fn reason(self) -> &'static str { self.entry().reason }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
