//! A segment of the journal: any bytes, and the same with checksums that fit, so that what is
//! behind them is reached too. Never a panic; memory in proportion to the input.
#![no_main]

use journal::Query;
use journal::segment::record::{HEAD, Head};
use journal::segment::{HEADER, Header, Segment};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let Ok(mut segment) = Segment::open(bytes) else { return };
    let query = Query::unit("a.service").and(Query::field("OTHER", "x"));
    segment.candidates(&query);
    for (chunk, end) in segment.chunks() {
        for entry in segment.entries_of(chunk, end) {
            query.takes(&entry);
        }
    }
    segment.values("_BOOT_ID");
    let _ = segment.tail(HEADER as u32);
}

/// Makes the checksums of the header and of all records that follow each other right.
fn mended(input: &[u8]) -> Option<Vec<u8>> {
    let header = Header { id: [1; 16], first_sequence: 1, created_us: 1 };
    let mut bytes = header.encode().to_vec();
    bytes.extend(input.get(HEADER..)?);
    let mut at = HEADER;
    while let Some(head) = bytes.get(at..).and_then(Head::parse) {
        let end = at + HEAD + head.length;
        let payload = bytes.get(at + HEAD..end)?.to_vec();
        let mut good = Vec::new();
        journal::segment::record::append(&mut good, at as u32, &header.id, head.kind, |out| {
            out.extend(payload)
        });
        let fits = good.len().min(bytes.len() - at);
        bytes[at..at + fits].copy_from_slice(&good[..fits]);
        at += head.span();
    }
    Some(bytes)
}

fuzz_target!(|input: &[u8]| {
    read(input);
    if let Some(bytes) = mended(input) {
        read(&bytes);
    }
});
