//! The thread that writes: whatever waits goes out in one write, and is on the disk when that returns.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::frame::{Body, HEADER, Kind, Stamp};
use super::ledger::{InFlight, Known, reserve};
use super::segment::{self, Segment};
use super::{Shared, SpoolError};

/// After the disk had no space it is not asked again for so long.
const FULL_PAUSE: Duration = Duration::from_millis(200);

pub(super) type Done = oneshot::Sender<Result<(), SpoolError>>;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Intent(Body, Done),
    Settle(Body, Done),
    Calls(Body, Done),
    /// The call was not made: nobody waited for the intent to be on the disk.
    Void(Uuid),
    /// Calls that are under way since before this are taken for lost.
    Reap(Option<Instant>, Done),
    /// Intents of this segment are written once more, so that it can go.
    Carry(u64, Done),
    /// These files take the place of all that are there.
    Renew(Vec<PathBuf>, Done),
    Stop,
}

/// What is so when a record is on the disk.
#[derive(Debug)]
enum Effect {
    Begun,
    Ended(u32),
    Came(u32),
    Withdrawn,
    Reaped,
    Carried,
}

#[derive(Debug)]
struct Pending {
    body: Body,
    effect: Effect,
    done: Option<Done>,
}

#[derive(Debug)]
struct Current {
    segment: Segment,
    /// Where the next record goes; 0 while there is no header.
    offset: u64,
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Request>,
    current: Option<Current>,
    spares: VecDeque<Segment>,
    preparing: Option<JoinHandle<io::Result<Segment>>>,
    next: u64,
    pending: Vec<Pending>,
    /// Bytes of the pending records, and what calls that begin with them will need.
    bytes: u64,
    reserved: u64,
    /// Ends of segments that could not be written to any more, until they are written down.
    seals: Vec<Body>,
    full_until: Option<Instant>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, queue: Receiver<Request>, next: u64) -> Self {
        Self {
            shared,
            queue,
            current: None,
            spares: VecDeque::new(),
            preparing: None,
            next,
            pending: Vec::new(),
            bytes: 0,
            reserved: 0,
            seals: Vec::new(),
            full_until: None,
            buffer: Vec::new(),
        }
    }

    /// Until it is told to stop, or nobody is left who could ask.
    pub(super) fn run(mut self) {
        // The first call should not wait for files to be made. When they cannot be, it is told.
        while self.spares.len() < 2 && self.prepare_now().is_ok() {}
        while let Ok(first) = self.queue.recv() {
            let mut next = Some(first);
            while let Some(request) = next {
                if matches!(request, Request::Stop) {
                    return self.stop();
                }
                self.take(request);
                next = self.queue.try_recv().ok();
            }
            self.flush();
            self.prepare_ahead();
        }
        self.stop();
    }

    fn stop(mut self) {
        self.flush();
        if self.preparing.is_some() {
            let _ = self.prepare_now();
        }
        let spares = std::mem::take(&mut self.spares);
        self.discard(spares);
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Intent(body, done) => self.place(Pending { body, effect: Effect::Begun, done: Some(done) }, true),
            Request::Calls(body, done) => {
                let effect = Effect::Came(body.view().count);
                self.place(Pending { body, effect, done: Some(done) }, true);
            }
            Request::Settle(body, done) => {
                let reaped = {
                    let ledger = self.shared.ledger();
                    ledger.in_flight.get(&body.view().id).filter(|call| call.reaped).map(|call| call.intent.clone())
                };
                let body = reaped.map_or_else(|| body.clone(), |reaped| Body::late(&reaped, &body));
                let effect = Effect::Ended(body.view().count);
                self.place(Pending { body, effect, done: Some(done) }, false);
            }
            Request::Void(id) => {
                self.flush();
                if self.shared.ledger().in_flight.contains_key(&id) {
                    let body = Body::bare(Kind::Void, self.shared.clock.now(), id);
                    self.place(Pending { body, effect: Effect::Withdrawn, done: None }, false);
                }
            }
            Request::Reap(before, done) => {
                let due = |call: &InFlight| !call.reaped && (call.since.is_none() || call.since < before);
                self.again(due, |intent| (intent.with_kind(Kind::Reaped, 1), Effect::Reaped), done);
            }
            Request::Carry(segment, done) => {
                let held = |call: &InFlight| !call.reaped && call.segment == segment;
                self.again(held, |intent| (intent, Effect::Carried), done);
            }
            Request::Renew(files, done) => {
                let renewed = self.renew(files);
                answer(Some(done), renewed);
            }
            Request::Stop => {}
        }
    }

    /// Goes on in these files. Where one cannot be used, another is made when it is needed.
    fn renew(&mut self, files: Vec<PathBuf>) -> Result<(), SpoolError> {
        self.flush();
        if self.preparing.is_some() {
            let _ = self.prepare_now();
        }
        let old = std::mem::take(&mut self.spares);
        self.shared.ledger().renewed = self.next;
        let mut outcome = Ok(());
        for file in files {
            let number = self.next_number();
            let size = self.shared.options.segment_bytes;
            let used = self.prepared(Segment::reuse(&self.shared.slot.path, &file, number, size));
            outcome = outcome.and(used);
        }
        self.discard(old);
        self.shared.release_retired();
        self.leave();
        outcome
    }

    /// Removes segments that nothing was written to.
    fn discard(&self, spares: VecDeque<Segment>) {
        for spare in spares {
            if segment::remove(&self.shared.slot.path, spare.number).is_ok() {
                self.shared.ledger().bytes -= spare.size;
            }
        }
    }

    /// Writes intents once more, in another form.
    fn again(&mut self, which: impl Fn(&InFlight) -> bool, how: impl Fn(Body) -> (Body, Effect), done: Done) {
        self.flush();
        let find = |shared: &Shared| -> Vec<Body> {
            let ledger = shared.ledger();
            ledger.in_flight.values().filter(|call| which(call)).map(|call| call.intent.clone()).collect()
        };
        for intent in find(&self.shared) {
            let (body, effect) = how(intent);
            self.place(Pending { body, effect, done: None }, false);
        }
        self.flush();
        let left = find(&self.shared).len();
        let refused = || SpoolError::Io(io::Error::other(format!("{left} intents could not be written again")));
        answer(Some(done), if left == 0 { Ok(()) } else { Err(refused()) });
    }

    fn place(&mut self, pending: Pending, limited: bool) {
        let need = pending.body.framed();
        let extra = if matches!(pending.effect, Effect::Begun) { reserve(&pending.body) } else { 0 };
        let mut room = if limited { self.admit(need, extra) } else { Ok(()) };
        if limited {
            self.shared.note_full(matches!(room, Err(SpoolError::Full)));
        }
        if room.is_ok() && !self.fits(need) {
            self.flush();
            room = self.rotate(need);
        }
        match room {
            Ok(()) => {
                self.bytes += need;
                self.reserved += extra;
                self.pending.push(pending);
            }
            Err(error) => answer(pending.done, Err(error)),
        }
    }

    fn fits(&self, need: u64) -> bool {
        self.current
            .as_ref()
            .is_some_and(|c| c.offset.max(HEADER) + self.seal_bytes() + self.bytes + need <= c.segment.size)
    }

    fn seal_bytes(&self) -> u64 {
        self.seals.iter().map(Body::framed).sum()
    }

    /// Whole segments that have to stay free for the calls under way. Twice their size: a segment's end may be too short for a record.
    fn required(&self, more: u64) -> usize {
        let reserved = self.shared.ledger().reserved + self.reserved + more;
        1 + usize::try_from(2 * reserved / self.shared.options.segment_bytes).unwrap_or(usize::MAX - 1)
    }

    /// Whether something may be taken that need not be: there is still enough room for what must be taken.
    fn admit(&mut self, need: u64, extra: u64) -> Result<(), SpoolError> {
        let wanted = self.required(extra) + usize::from(!self.fits(need));
        while self.spares.len() < wanted {
            self.prepare_now()?;
        }
        Ok(())
    }

    fn prepare_now(&mut self) -> Result<(), SpoolError> {
        if let Some(preparing) = self.preparing.take() {
            return self
                .prepared(preparing.join().unwrap_or_else(|_| Err(io::Error::other("the thread has panicked"))));
        }
        let size = self.shared.options.segment_bytes;
        let retired = self.shared.ledger().retired.take();
        if let Some(retired) = retired {
            let number = self.next_number();
            let directory = &self.shared.slot.path;
            return self.prepared(Segment::reuse(directory, &segment::retired_path(directory, retired), number, size));
        }
        let over = self.shared.ledger().bytes + size > self.shared.options.max_bytes;
        if over || self.full_until.is_some_and(|until| until > Instant::now()) {
            return Err(SpoolError::Full);
        }
        let number = self.number(size);
        let made = Segment::create(&self.shared.slot.path, number, size);
        self.prepared(made)
    }

    /// Takes the next number, and counts the bytes of its file.
    fn number(&mut self, size: u64) -> u64 {
        self.shared.ledger().bytes += size;
        self.next_number()
    }

    /// Takes the next number, for a file whose bytes are counted.
    const fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn prepared(&mut self, made: io::Result<Segment>) -> Result<(), SpoolError> {
        match made {
            Ok(spare) => {
                self.full_until = None;
                self.spares.push_back(spare);
                Ok(())
            }
            Err(error) => {
                let size = self.shared.options.segment_bytes;
                let mut ledger = self.shared.ledger();
                ledger.bytes = ledger.bytes.saturating_sub(size);
                drop(ledger);
                if no_space(&error) {
                    if self.full_until.is_none() {
                        tracing::error!(target: "tenantry::spool", %error, "the disk of the spool is full");
                    }
                    self.full_until = Some(Instant::now() + FULL_PAUSE);
                    return Err(SpoolError::Full);
                }
                self.shared.failed(&error);
                Err(SpoolError::Io(error))
            }
        }
    }

    /// Has a further segment made beside the writing, before it is needed.
    fn prepare_ahead(&mut self) {
        if self.preparing.as_ref().is_some_and(JoinHandle::is_finished) {
            let _ = self.prepare_now();
        }
        let half_full = self.current.as_ref().is_some_and(|c| c.offset > c.segment.size / 2);
        if self.preparing.is_some() || !half_full || self.spares.len() > self.required(0) {
            return;
        }
        let (size, directory) = (self.shared.options.segment_bytes, self.shared.slot.path.clone());
        let retired = self.shared.ledger().retired.take();
        if let Some(retired) = retired {
            let number = self.next_number();
            let old = segment::retired_path(&directory, retired);
            self.preparing = Some(std::thread::spawn(move || Segment::reuse(&directory, &old, number, size)));
        } else if self.shared.ledger().bytes + size <= self.shared.options.max_bytes && self.full_until.is_none() {
            let number = self.number(size);
            self.preparing = Some(std::thread::spawn(move || Segment::create_beside(&directory, number, size)));
        }
    }

    /// Goes on in another segment that has room for so much.
    fn rotate(&mut self, need: u64) -> Result<(), SpoolError> {
        self.leave();
        let size = HEADER + self.seal_bytes() + need;
        let ready = |writer: &Self| writer.spares.front().is_some_and(|spare| spare.size >= size);
        if !ready(self) && self.preparing.is_some() {
            let _ = self.prepare_now();
        }
        let segment = match self.spares.pop_front_if(|spare| spare.size >= size) {
            Some(spare) => spare,
            None => self.extra(size)?,
        };
        let known = Known::begun(self.stamp(segment.number), segment.size);
        self.shared.ledger().segments.insert(segment.number, known);
        self.current = Some(Current { segment, offset: 0 });
        Ok(())
    }

    /// A segment beyond what was prepared, and beyond the limit: what must be taken is taken.
    fn extra(&mut self, size: u64) -> Result<Segment, SpoolError> {
        let size = size.next_multiple_of(4096).max(self.shared.options.segment_bytes);
        let number = self.number(size);
        let directory = self.shared.slot.path.clone();
        let made = Segment::create(&directory, number, size).inspect_err(|error| {
            self.shared.ledger().bytes -= size;
            self.shared.failed(error);
        })?;
        // What is prepared comes after it.
        for mut spare in std::mem::take(&mut self.spares) {
            match spare.renumber(&directory, self.next) {
                Ok(()) => {
                    self.next += 1;
                    self.spares.push_back(spare);
                }
                Err(error) => {
                    self.shared.failed(&error);
                    self.shared.ledger().bytes -= spare.size;
                }
            }
        }
        Ok(made)
    }

    fn stamp(&self, number: u64) -> Stamp {
        Stamp { spool: self.shared.id, number }
    }

    /// Nothing more comes to the present segment.
    fn leave(&mut self) {
        if let Some(current) = self.current.take()
            && let Some(known) = self.shared.ledger().segments.get_mut(&current.segment.number)
        {
            known.written = false;
        }
    }

    /// Writes what is pending, and answers. A segment that refuses is not written to again: whether it has what was refused nobody
    /// knows. It ends before that, and the records go to another.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut written = self.write();
        if let Err(error) = &written {
            self.shared.failed(error);
            self.seal();
            written = self.rotate(self.bytes).map_err(io::Error::other).and_then(|()| self.write());
            if let Err(error) = &written {
                self.shared.failed(error);
                self.seal();
            }
        }
        let number = self.current.as_ref().map_or(0, |current| current.segment.number);
        (self.bytes, self.reserved) = (0, 0);
        let pending = std::mem::take(&mut self.pending);
        match written {
            Ok(end) => {
                self.shared.written(number, end, pending.iter().map(|p| (&p.body, &p.effect)));
                pending.into_iter().for_each(|p| answer(p.done, Ok(())));
            }
            Err(error) => {
                let same = || SpoolError::Io(io::Error::new(error.kind(), error.to_string()));
                pending.into_iter().for_each(|p| answer(p.done, Err(same())));
            }
        }
    }

    fn write(&mut self) -> io::Result<u64> {
        let stamp = self.stamp(self.current.as_ref().map_or(0, |current| current.segment.number));
        let Some(current) = &mut self.current else { return Err(io::Error::other("there is no segment")) };
        self.buffer.clear();
        if current.offset == 0 {
            self.buffer.extend(stamp.header());
        }
        for body in self.seals.iter().chain(self.pending.iter().map(|pending| &pending.body)) {
            body.frame(stamp, current.offset, &mut self.buffer)?;
        }
        current.segment.write(&self.buffer, current.offset)?;
        current.offset += self.buffer.len() as u64;
        self.seals.clear();
        Ok(current.offset)
    }

    fn seal(&mut self) {
        if let Some(current) = &self.current {
            self.seals.push(Body::seal(current.segment.number, current.offset.max(HEADER)));
        }
        self.leave();
    }
}

fn answer(done: Option<Done>, result: Result<(), SpoolError>) {
    if let Some(done) = done {
        // who no longer waits need not know
        let _ = done.send(result);
    }
}

fn no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Shared {
    fn note_full(&self, full: bool) {
        let mut ledger = self.ledger();
        if full && !ledger.counts.full {
            tracing::error!(
                target: "tenantry::spool", bytes = ledger.bytes, waiting = ledger.waiting, directory = %self.slot.path.display(),
                "the spool is full: calls are refused until some are shipped"
            );
        }
        ledger.counts.full = full;
    }

    /// Records are on the disk.
    fn written<'a>(&self, number: u64, end: u64, records: impl Iterator<Item = (&'a Body, &'a Effect)>) {
        let mut guard = self.ledger();
        let ledger = &mut *guard;
        for (body, effect) in records {
            let view = body.view();
            match effect {
                Effect::Begun => {
                    let since = Some(Instant::now());
                    ledger.begin(view.id, InFlight { intent: body.clone(), segment: number, since, reaped: false });
                }
                Effect::Ended(rows) => {
                    ledger.counts.late += u64::from(view.kind == Kind::Late);
                    ledger.end(view.id);
                    ledger.came(*rows, view.at);
                }
                Effect::Came(rows) => ledger.came(*rows, view.at),
                Effect::Withdrawn => ledger.end(view.id),
                Effect::Reaped => {
                    ledger.counts.reaped += 1;
                    ledger.came(1, self.clock.now().timestamp_millis());
                    match ledger.in_flight.get_mut(&view.id) {
                        // Its process may still tell how it ended.
                        Some(call) if call.since.is_some() => call.reaped = true,
                        _ => ledger.end(view.id),
                    }
                }
                Effect::Carried => {
                    if let Some(call) = ledger.in_flight.get_mut(&view.id) {
                        call.segment = number;
                    }
                }
            }
        }
        if let Some(known) = ledger.segments.get_mut(&number) {
            known.end = end;
        }
        let enough = ledger.wanted.is_some_and(|wanted| ledger.waiting >= wanted);
        drop(guard);
        if enough {
            self.news.notify_one();
        }
    }
}
