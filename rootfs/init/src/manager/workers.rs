//! Threads that do for PID 1 what may wait for a disk or a server: any file system may cease to
//! answer, and the loop must not wait with it.
//!
//! There are none until there is work, and they are used again; one that is held up is given a
//! second to help it, up to [`MAX_THREADS`]. A unit holds up one thread at most: what it asks while
//! its last question is unanswered waits behind that. What may be asked, and what becomes of the
//! answers, is in [`super::gather`].

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads at the same time.
const MAX_THREADS: usize = 64;
/// Threads that are made at once; more only when these are held up.
const QUICK_THREADS: usize = 2;
/// So long a question waits before another thread is made for it.
const PATIENCE: Duration = Duration::from_millis(50);
/// A thread that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);
/// What a thread needs: a glob or a path is walked, and a file of 1 MiB at most is on the heap.
const STACK_BYTES: usize = 128 << 10;

/// Names a question.
pub(super) type Ticket = u64;

type Work<A> = Box<dyn FnOnce() -> A + Send>;

struct Question<A> {
    ticket: Ticket,
    /// Who asks.
    who: u64,
    since: Duration,
    work: Work<A>,
}

struct State<A> {
    queue: VecDeque<Question<A>>,
    /// Whose questions are being worked on.
    busy: BTreeSet<u64>,
    answers: Vec<(Ticket, A)>,
    threads: usize,
    idle: usize,
}

impl<A> State<A> {
    fn next(&mut self) -> Option<Question<A>> {
        let at = self.queue.iter().position(|question| !self.busy.contains(&question.who))?;
        let question = self.queue.remove(at)?;
        self.busy.insert(question.who);
        Some(question)
    }

    /// Since when the oldest question waits that a thread could take.
    fn waits_since(&self) -> Option<Duration> {
        let free = self.queue.iter().filter(|question| !self.busy.contains(&question.who));
        free.map(|question| question.since).min()
    }
}

struct Shared<A> {
    state: Mutex<State<A>>,
    work: Condvar,
    wake: EventFd,
}

impl<A> Shared<A> {
    fn lock(&self) -> MutexGuard<'_, State<A>> {
        // Nothing panics with the lock held; were it so, the lists are whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads, and their questions and answers.
pub(super) struct Workers<A> {
    shared: Arc<Shared<A>>,
    last: Ticket,
}

impl<A: Send + 'static> Workers<A> {
    /// # Errors
    /// eventfd(2).
    pub(super) fn new() -> io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let state =
            State { queue: VecDeque::new(), busy: BTreeSet::new(), answers: Vec::new(), threads: 0, idle: 0 };
        let shared = Shared { state: Mutex::new(state), work: Condvar::new(), wake };
        Ok(Self { shared: Arc::new(shared), last: 0 })
    }

    /// Has something done; its answer comes by [`Self::answers`]. Nothing does if it panics.
    ///
    /// # Errors
    /// No thread can be made, and there is none.
    pub(super) fn ask(
        &mut self,
        who: u64,
        now: Duration,
        work: impl FnOnce() -> A + Send + 'static,
    ) -> io::Result<Ticket> {
        self.last += 1;
        let ticket = self.last;
        let mut state = self.shared.lock();
        state.queue.push_back(Question { ticket, who, since: now, work: Box::new(work) });
        let waiting = state.queue.len();
        self.shared.work.notify_one();
        if state.idle < waiting
            && state.threads < QUICK_THREADS
            && let Err(error) = begin(&self.shared, &mut state)
            && state.threads == 0
        {
            state.queue.pop_back();
            return Err(error);
        }
        Ok(ticket)
    }

    /// Takes back a question that nobody works on yet.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.shared.lock().queue.retain(|question| question.ticket != ticket);
    }

    /// The answers since the last call.
    pub(super) fn answers(&mut self) -> Vec<(Ticket, A)> {
        // Not readable is as good: then there is none.
        let _ = self.shared.wake.read();
        std::mem::take(&mut self.shared.lock().answers)
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let state = self.shared.lock();
        state.waits_since().filter(|_| state.threads < MAX_THREADS).map(|since| since + PATIENCE)
    }

    /// Makes a thread more, if those that are there are held up.
    pub(super) fn tick(&mut self, now: Duration) {
        let mut state = self.shared.lock();
        let late = state.waits_since().is_some_and(|since| since + PATIENCE <= now);
        if late && state.threads < MAX_THREADS && begin(&self.shared, &mut state).is_err() {
            // Tried again after a while, not in every turn.
            for question in &mut state.queue {
                question.since = now;
            }
        } else if late {
            // One thread a time, and each has its chance before the next is made.
            for question in &mut state.queue {
                question.since = question.since.max(now.saturating_sub(PATIENCE / 2));
            }
        }
    }
}

impl<A> AsFd for Workers<A> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

fn begin<A: Send + 'static>(shared: &Arc<Shared<A>>, state: &mut State<A>) -> io::Result<()> {
    let own = Arc::clone(shared);
    let builder = std::thread::Builder::new().name("worker".into()).stack_size(STACK_BYTES);
    builder.spawn(move || work(&own))?;
    state.threads += 1;
    Ok(())
}

fn work<A>(shared: &Shared<A>) {
    let mut state = shared.lock();
    loop {
        if let Some(question) = state.next() {
            let (ticket, who) = (question.ticket, question.who);
            drop(state);
            // The panic has been told by the hook; the question stays unanswered.
            let answer: Result<A, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(question.work));
            state = shared.lock();
            state.busy.remove(&who);
            if let Ok(answer) = answer {
                state.answers.push((ticket, answer));
                // It can only be full with 2^64 answers that nobody took.
                let _ = shared.wake.write(1);
            }
            continue;
        }
        state.idle += 1;
        let (locked, waited) = shared.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
        state = locked;
        state.idle -= 1;
        if waited.timed_out() && state.waits_since().is_none() {
            state.threads -= 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    const NOW: Duration = Duration::from_secs(1);

    fn next<A: Send + 'static>(workers: &mut Workers<A>, count: usize) -> Vec<(Ticket, A)> {
        let mut found = Vec::new();
        while found.len() < count {
            let mut one = [nix::poll::PollFd::new(workers.as_fd(), nix::poll::PollFlags::POLLIN)];
            assert_eq!(
                nix::poll::poll(&mut one, nix::poll::PollTimeout::from(20_000_u16)),
                Ok(1),
                "an answer"
            );
            found.extend(workers.answers());
        }
        found
    }

    fn held(gate: Receiver<()>) -> impl FnOnce() -> &'static str + Send {
        move || {
            let _ = gate.recv();
            "held"
        }
    }

    #[test]
    fn those_that_are_held_up_get_help() {
        let mut workers = Workers::new().unwrap();
        assert_eq!(workers.deadline(), None);
        let gates: Vec<_> = (0..3)
            .map(|who| {
                let (open, gate) = channel();
                workers.ask(who, NOW, held(gate)).unwrap();
                open
            })
            .collect();
        let free = workers.ask(9, NOW, || "free").unwrap();
        // Two threads are held up; the third question and the free one wait for more.
        let mut now = NOW;
        let mut found = Vec::new();
        while found.is_empty() {
            now += PATIENCE;
            workers.tick(now);
            std::thread::yield_now();
            found = workers.answers();
        }
        assert_eq!(found, [(free, "free")]);
        drop(gates);
        assert_eq!(next(&mut workers, 3).len(), 3);
    }

    #[test]
    fn a_unit_holds_up_one_thread_and_a_panic_none() {
        let mut workers = Workers::new().unwrap();
        let (open, gate) = channel();
        workers.ask(1, NOW, held(gate)).unwrap();
        let second = workers.ask(1, NOW, || "second").unwrap();
        let third = workers.ask(1, NOW, || "third").unwrap();
        let other = workers.ask(2, NOW, || "other").unwrap();
        assert_eq!(next(&mut workers, 1), [(other, "other")]);
        assert_eq!(workers.deadline(), None, "no thread would help");
        workers.forget(second);
        drop(open);
        assert_eq!(next(&mut workers, 2)[1], (third, "third"));

        workers.ask(3, NOW, || panic!("a panic that this test is about")).unwrap();
        let last = workers.ask(3, NOW, || "last").unwrap();
        assert_eq!(next(&mut workers, 1), [(last, "last")]);
    }

    #[test]
    fn many_questions_need_few_threads() {
        let mut workers = Workers::new().unwrap();
        for who in 0..1000 {
            workers.ask(who, NOW, move || who).unwrap();
        }
        assert_eq!(next(&mut workers, 1000).len(), 1000);
        assert_eq!(workers.shared.lock().threads, QUICK_THREADS);
    }
}
