//! Reading a log at its opening: what is whole, what was torn by a crash, what is damaged.
//!
//! A bad record is torn, and is cut, when nothing shows that it ever was on the disk; it is damage,
//! and refused, when
//! 1. it is not in the last segment, or
//! 2. a whole record of a later group is behind it (groups begin only once the one before is synced), or
//! 3. all its sectors were written: a crash leaves a sector as zeros or whole, so a record that was
//!    torn lacks one of them.

use crate::disk::{Disk, DiskFile, SECTOR};
use crate::entry::State;
use crate::error::Error;
use crate::format::{
    ALIGN, BadHeader, HEAD, HEADER, Head, Header, Kind, Seed, VERSION, parse_entry, parse_id, parse_name,
    parse_state,
};
use crate::memory::Places;
use crate::read::{Segment, Window, io};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What opening a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The state.
    pub state: State,
    /// How many entries there are.
    pub entries: u64,
    /// How many segments there are.
    pub segments: usize,
    /// What a crash had torn, and was cut: none of it had been acknowledged.
    pub cut: Option<Cut>,
}

/// A torn end that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// Where the whole records end.
    pub offset: u64,
    /// How many bytes were behind that.
    pub bytes: u64,
}

/// A log as it was found.
pub struct Found<F> {
    pub state: State,
    pub places: Places<F>,
    /// Sequence and path of each segment, the oldest first.
    pub segments: Vec<(u64, PathBuf)>,
    /// Segments that a purge was about to remove.
    pub stale: Vec<PathBuf>,
    /// The last segment.
    pub active: Arc<Segment<F>>,
    pub end: End,
    pub cut: Option<Cut>,
}

/// Where a segment's whole records end.
#[derive(Clone, Copy)]
pub struct End {
    pub offset: u64,
    /// The last record's checksum, or what the header names instead.
    pub sum: u32,
    /// Where the last record's group begins.
    pub group: u64,
    /// Whether the last record is a seal, so that all before it is shown to be on the disk.
    pub sealed: bool,
}

/// Reads the log of a folder; none when there are no segments. Writes nothing.
pub fn find<D: Disk>(disk: &D, folder: &Path, cluster: u64) -> Result<Option<Found<D::File>>, Error> {
    let names = disk.list(folder).map_err(io("list", folder))?;
    let mut named: Vec<_> = names
        .into_iter()
        .filter_map(|name| parse_name(&name).map(|(sequence, index)| (sequence, index, folder.join(name))))
        .collect();
    named.sort_unstable();
    if let Some([one, other]) = named.array_windows().find(|[one, other]| one.0 == other.0) {
        return Err(Error::Damaged {
            path: other.2.clone(),
            offset: 0,
            why: format!("{} has the same number", one.2.display()),
        });
    }
    // A purge removes the oldest first, but after a crash any of those can be there again.
    let row = named.array_windows().rposition(|[one, other]| one.0.checked_add(1) != Some(other.0));
    let row = named.split_off(row.map_or(0, |gap| gap + 1));
    let stale = named.into_iter().map(|(_, _, path)| path).collect();
    let Some((first_sequence, _, _)) = row.first().cloned() else { return Ok(None) };

    let mut scan = Scan { state: State::default(), places: Places::new(), begun: first_sequence == 1 };
    let mut opened = Vec::with_capacity(row.len());
    for (sequence, index, path) in &row {
        opened.push(open(disk, path, cluster, *sequence, *index)?);
    }
    let mut end = None;
    let mut cut = None;
    for (place, (segment, header)) in opened.iter().enumerate() {
        let due = opened.get(place + 1).map(|(_, next)| next);
        let (found, torn) = scan.segment(segment, header, due)?;
        end = Some(found);
        cut = torn;
    }
    let Scan { state, mut places, begun } = scan;
    places.forget_before(state.after_purged());
    let there = places.first().unwrap_or_else(|| state.next());
    if there > state.after_purged() || !begun {
        return Err(Error::Missing {
            folder: folder.to_owned(),
            sequence: first_sequence.saturating_sub(1),
            why: format!("entries from {} on should be there, and are from {there} on", state.after_purged()),
        });
    }
    let (Some(end), Some((active, _))) = (end, opened.pop()) else { return Ok(None) };
    let segments = row.into_iter().map(|(sequence, _, path)| (sequence, path)).collect();
    Ok(Some(Found { state, places, segments, stale, active, end, cut }))
}

type Opened<F> = (Arc<Segment<F>>, Header);

/// Opens a segment and checks its header.
fn open<D: Disk>(
    disk: &D,
    path: &Path,
    cluster: u64,
    sequence: u64,
    index: u64,
) -> Result<Opened<D::File>, Error> {
    let file = disk.open(path).map_err(io("open", path))?;
    let size = file.size().map_err(io("look at", path))?;
    let segment = Segment { file, path: path.to_owned(), sequence, seed: Seed::new(cluster, sequence), size };
    if size < HEADER || size > u64::from(u32::MAX) {
        return Err(segment.damaged(0, format!("no segment has {size} bytes")));
    }
    let mut bytes = [0; HEADER as usize];
    segment.file.read_exact_at(&mut bytes, 0).map_err(io("read", path))?;
    let header = Header::parse(&bytes).map_err(|bad| match bad {
        BadHeader::Damaged => segment.damaged(0, "the header is not what was written"),
        BadHeader::Future(found) => Error::Future { path: path.to_owned(), found, known: VERSION },
    })?;
    if header.cluster != cluster {
        return Err(Error::Foreign { path: path.to_owned(), found: header.cluster, wanted: cluster });
    }
    if (header.sequence, header.first_index) != (sequence, index) {
        return Err(segment.damaged(0, format!("the header is that of {}", header.name())));
    }
    Ok((Arc::new(segment), header))
}

struct Scan<F> {
    state: State,
    places: Places<F>,
    /// Whether the state is known: from the log's beginning, or from a `State` record.
    begun: bool,
}

impl<F: DiskFile> Scan<F> {
    /// Reads a segment's records. `due` is the next segment's header, if there is a next one.
    fn segment(
        &mut self,
        segment: &Arc<Segment<F>>,
        header: &Header,
        due: Option<&Header>,
    ) -> Result<(End, Option<Cut>), Error> {
        let mut window = Window::new(segment);
        let mut end = End { offset: HEADER, sum: header.previous, group: HEADER, sealed: false };
        while due.is_none_or(|next| end.offset < u64::from(next.previous_end)) {
            let Some(head) = whole(&mut window, segment, end.offset, end.sum)? else {
                if due.is_some() {
                    return Err(segment.damaged(end.offset, "a record is not what was written"));
                }
                let cut = torn(&mut window, segment, &end)?;
                return Ok((end, cut));
            };
            let payload = &window.get(end.offset, head.span())?[HEAD as usize..][..head.length as usize];
            self.record(segment, end.offset, head.kind, payload)
                .map_err(|why| segment.damaged(end.offset, why))?;
            end = End {
                offset: end.offset + head.span(),
                sum: head.sum,
                group: u64::from(head.group),
                sealed: head.kind == Kind::Seal,
            };
        }
        match due {
            Some(next) if (end.offset, end.sum) != (u64::from(next.previous_end), next.previous) => {
                Err(segment.damaged(end.offset, "the next segment follows another record than this"))
            }
            _ => Ok((end, None)),
        }
    }

    fn record(
        &mut self,
        segment: &Arc<Segment<F>>,
        offset: u64,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), String> {
        const MALFORMED: &str = "a record says nothing that this version knows";
        let next = self.state.next();
        match kind {
            Kind::Entry => {
                let entry = parse_entry(payload).ok_or(MALFORMED)?;
                if !self.begun || entry.id.index != next {
                    return Err(format!("entry {} is where {next} was due", entry.id.index));
                }
                self.places.push(segment, next, offset as u32);
                self.state.last = Some(entry.id);
            }
            Kind::State => {
                let state = parse_state(payload).ok_or(MALFORMED)?;
                if self.begun && state.next() > next && state.last != state.purged {
                    return Err(format!("a state ends at {} where {next} was due", state.next()));
                }
                if self.begun && state.after_purged() < self.state.after_purged() {
                    return Err("a state has entries that were purged before".to_owned());
                }
                self.places.cut(state.next());
                self.places.forget_before(state.after_purged());
                self.state = state;
                self.begun = true;
            }
            Kind::Committed => self.state.committed = Some(parse_id(payload).ok_or(MALFORMED)?),
            Kind::Seal if payload.is_empty() => {}
            Kind::Seal => return Err(MALFORMED.to_owned()),
        }
        Ok(())
    }
}

/// The head of the record at an offset, if the record is whole and follows the one before.
fn whole<F: DiskFile>(
    window: &mut Window<F>,
    segment: &Segment<F>,
    offset: u64,
    previous: u32,
) -> Result<Option<Head>, Error> {
    let Some(head) = Head::parse(window.get(offset, HEAD)?, segment.seed, offset) else { return Ok(None) };
    let record = window.get(offset, head.span())?;
    Ok((head.previous == previous && head.holds(record, segment.seed, offset)).then_some(head))
}

/// What is behind the last whole record: nothing, what a crash tore, or damage.
fn torn<F: DiskFile>(window: &mut Window<F>, segment: &Segment<F>, end: &End) -> Result<Option<Cut>, Error> {
    let Some(used) = last_used(window, segment, end.offset)? else { return Ok(None) };
    let bad = || segment.damaged(end.offset, "a record is not what was written");
    let bytes = used - end.offset;
    // 2. A whole record that was written when this was on the disk.
    for offset in (end.offset..used).step_by(ALIGN as usize) {
        let Some(head) = Head::parse(window.get(offset, HEAD)?, segment.seed, offset) else { continue };
        if u64::from(head.group) <= end.offset {
            continue;
        }
        if head.holds(window.get(offset, head.span())?, segment.seed, offset) {
            return Err(bad());
        }
    }
    // 3. A record all of whose sectors were written.
    let head = Head::parse(window.get(end.offset, HEAD)?, segment.seed, end.offset);
    let span = head.map_or(HEAD, |head| head.span());
    let record = window.get(end.offset, span)?;
    if head.is_some_and(|head| head.holds(record, segment.seed, end.offset)) {
        return Err(segment.damaged(end.offset, "a record follows another one than the one before it"));
    }
    let mut offset = end.offset;
    let mut rest = record;
    let mut lacks_one = false;
    while !rest.is_empty() {
        let (sector, after) = rest.split_at(rest.len().min((SECTOR - offset % SECTOR) as usize));
        lacks_one |= sector.iter().all(|byte| *byte == 0);
        offset += sector.len() as u64;
        rest = after;
    }
    if !lacks_one {
        return Err(bad());
    }
    Ok(Some(Cut { path: segment.path.clone(), offset: end.offset, bytes }))
}

/// Where the last byte that is not zero ends; none when all are.
fn last_used<F: DiskFile>(
    window: &mut Window<F>,
    segment: &Segment<F>,
    from: u64,
) -> Result<Option<u64>, Error> {
    const STEP: u64 = 64 << 10;
    let mut used = None;
    let mut offset = from;
    while offset < segment.size {
        let part = window.get(offset, STEP)?;
        if let Some(place) = part.iter().rposition(|byte| *byte != 0) {
            used = Some(offset + place as u64 + 1);
        }
        offset += part.len() as u64;
    }
    Ok(used)
}
