//! Packet lines, the framing of Git's protocols.
#![no_main]

use git::pktline::{Packet, read, write, write_delimiter, write_flush};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut stream, mut again) = (bytes, Vec::new());
    loop {
        match read(&mut stream) {
            Err(_) => return,
            Ok(None) => break,
            Ok(Some(Packet::Flush)) => write_flush(&mut again),
            Ok(Some(Packet::Delimiter)) => write_delimiter(&mut again),
            Ok(Some(Packet::ResponseEnd)) => again.extend_from_slice(b"0002"),
            Ok(Some(Packet::Data(data))) => assert!(write(&mut again, &data), "a packet that is too long was read"),
        }
    }
    assert!(again.eq_ignore_ascii_case(bytes), "what was read is not what was sent");
});
