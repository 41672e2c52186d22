//! Transactions: which of the lists are done is decided on the state before, at
//! every depth; all is checked before the first change; then it is done in order
//! (etcd v3 API: `Txn`).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::batch::Batch;
use crate::command::{Compare, CompareResult, Operation, Target, Txn};
use crate::error::{Answer, Error, Refusal};
use crate::range::Reader;
use crate::record::Head;
use crate::reply::{OperationReply, TxnReply};
use crate::span::Span;
use crate::tables::{Now, Past};
use crate::write::Work;

/// Which list of a transaction and of those nested in it is done.
pub(crate) struct Path {
    succeeded: bool,
    /// For each nested transaction of the list that is done, in order.
    nested: Vec<Path>,
}

impl Path {
    fn operations<'x>(&self, txn: &'x Txn) -> &'x [Operation] {
        if self.succeeded { &txn.success } else { &txn.failure }
    }
}

impl<N: Now, P: Past> Reader<'_, N, P> {
    /// Compares, without doing anything.
    pub fn path(&self, txn: &Txn) -> Result<Path, Error> {
        let mut path = Path { succeeded: true, nested: Vec::new() };
        for compare in &txn.compare {
            if !self.holds(compare)? {
                path.succeeded = false;
                break;
            }
        }
        for operation in path.operations(txn) {
            if let Operation::Txn(txn) = operation {
                path.nested.push(self.path(txn)?);
            }
        }
        Ok(path)
    }

    fn holds(&self, compare: &Compare) -> Result<bool, Error> {
        let span = Span::new(&compare.key, &compare.range_end);
        let mut found = false;
        let mut all = true;
        self.each(&span, i64::MAX, &mut |key, record| {
            found = true;
            let head = Head::of("now", key, record)?;
            all = compares(compare, &head, &record[head.value_at..]);
            Ok(if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if found {
            return Ok(all);
        }
        // A key that is not there has no value, not an empty one.
        let nothing = Head { create: 0, main: 0, sub: 0, version: 0, lease: 0, value_at: 0 };
        Ok(!matches!(compare.target, Target::Value(_)) && compares(compare, &nothing, &[]))
    }

    /// Whether the ranges on the path can be read, as the state before the transaction is.
    fn check_ranges(&self, txn: &Txn, path: &Path) -> Result<(), Refusal> {
        let mut nested = path.nested.iter();
        for operation in path.operations(txn) {
            match operation {
                Operation::Range(range) if range.revision == 0 => {}
                Operation::Range(range) if range.revision > self.revision => {
                    return Err(Refusal::FutureRevision);
                }
                Operation::Range(range) if range.revision < self.compacted => return Err(Refusal::Compacted),
                Operation::Txn(txn) => {
                    if let Some(path) = nested.next() {
                        self.check_ranges(txn, path)?;
                    }
                }
                Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) => {}
            }
        }
        Ok(())
    }

    /// Does a transaction that only reads; `None` if it would write.
    pub fn read_txn(&self, txn: &Txn) -> Answer<Option<TxnReply>> {
        if !only_reads(txn) {
            return Ok(Ok(None));
        }
        let path = self.path(txn)?;
        if let Err(refusal) = self.check_ranges(txn, &path) {
            return Ok(Err(refusal));
        }
        let mut reply =
            TxnReply { revision: self.revision, succeeded: path.succeeded, responses: Vec::new() };
        for operation in path.operations(txn) {
            if let Operation::Range(range) = operation {
                match self.range(range)? {
                    Ok(range) => reply.responses.push(OperationReply::Range(range)),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        }
        Ok(Ok(Some(reply)))
    }
}

/// Whether a transaction consists of ranges alone; one that nests others counts as writing, as in etcd.
fn only_reads(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|operation| matches!(operation, Operation::Range(_)))
}

fn compares(compare: &Compare, head: &Head, value: &[u8]) -> bool {
    let order = match &compare.target {
        Target::Version(version) => head.version.cmp(version),
        Target::Create(revision) => head.create.cmp(revision),
        Target::Mod(revision) => (head.main as i64).cmp(revision),
        Target::Value(given) => value.cmp(given),
        Target::Lease(lease) => head.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}

impl Batch<'_> {
    /// Does a transaction whose fields were checked.
    pub(crate) fn txn(&mut self, txn: &Txn) -> Answer<TxnReply> {
        let before = self.reader(self.meta.revision);
        let path = before.path(txn)?;
        if let Err(refusal) = before.check_ranges(txn, &path) {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.check_puts(txn, &path)? {
            return Ok(Err(refusal));
        }
        let mut work = self.work();
        let mut reply = match self.operations(&mut work, txn, &path)? {
            Ok(reply) => reply,
            Err(refusal) => return Ok(Err(refusal)),
        };
        reply.revision = work.revision();
        self.finish(&work);
        Ok(Ok(reply))
    }

    fn check_puts(&self, txn: &Txn, path: &Path) -> Answer<()> {
        let mut nested = path.nested.iter();
        for operation in path.operations(txn) {
            let verdict = match operation {
                Operation::Put(put) => self.check_put_here(put)?,
                Operation::Txn(txn) => match nested.next() {
                    Some(path) => self.check_puts(txn, path)?,
                    None => Ok(()),
                },
                Operation::Range(_) | Operation::DeleteRange(_) => Ok(()),
            };
            if verdict.is_err() {
                return Ok(verdict);
            }
        }
        Ok(Ok(()))
    }

    fn operations(&mut self, work: &mut Work, txn: &Txn, path: &Path) -> Answer<TxnReply> {
        let mut nested = path.nested.iter();
        let mut reply = TxnReply { revision: 0, succeeded: path.succeeded, responses: Vec::new() };
        for operation in path.operations(txn) {
            reply.responses.push(match operation {
                // Cannot be refused: the revision was checked, and nothing compacts meanwhile.
                Operation::Range(range) => match self.reader(work.revision()).range(range)? {
                    Ok(range) => OperationReply::Range(range),
                    Err(refusal) => return Ok(Err(refusal)),
                },
                Operation::Put(put) => OperationReply::Put(self.put(work, put)?),
                Operation::DeleteRange(delete) => {
                    OperationReply::DeleteRange(self.delete_range(work, delete)?)
                }
                Operation::Txn(txn) => {
                    let Some(path) = nested.next() else { continue };
                    match self.operations(work, txn, path)? {
                        Ok(reply) => OperationReply::Txn(reply),
                        Err(refusal) => return Ok(Err(refusal)),
                    }
                }
            });
        }
        Ok(Ok(reply))
    }
}
