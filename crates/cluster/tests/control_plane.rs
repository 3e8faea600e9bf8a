//! Against a real API server, as writ's own ServiceAccount with the permissions of `deploy/`.

#[cfg(test)]
#[path = "control_plane/applying.rs"]
mod applying;
#[cfg(test)]
#[path = "control_plane/definitions.rs"]
mod definitions;
#[cfg(test)]
#[path = "control_plane/odd_spellings.rs"]
mod odd_spellings;
#[cfg(test)]
#[path = "control_plane/records.rs"]
mod records;
#[cfg(test)]
#[path = "control_plane/watching.rs"]
mod watching;
#[cfg(test)]
#[path = "control_plane/world.rs"]
mod world;
