//! What the processes of a unit share besides their cgroup: its network and IPC namespaces and its
//! /tmp. Units that join each other (`JoinsNamespaceOf=`, systemd.unit(5)) share one set of them,
//! each as far as it has the key; it is gone when the last of them is down.

use super::Manager;
use super::spawn::SpawnError;
use crate::engine::{Edge, UnitId};
use crate::unit::Relation;
use crate::unit::sandbox::Sandbox;
use nix::libc::{CLONE_NEWIPC, CLONE_NEWNET};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use sys::isolation::new_namespace;
use sys::process::Step;

/// One set.
pub(super) struct Shared {
    /// The unit that had it first; its folders in /tmp are called by it.
    pub(super) name: String,
    made: RefCell<HashMap<i32, Arc<OwnedFd>>>,
}

/// The sets of the units that run.
#[derive(Default)]
pub(super) struct Namespaces(HashMap<UnitId, Rc<Shared>>);

/// What of a set a unit takes part in.
fn kinds(sandbox: &Sandbox) -> impl Iterator<Item = (i32, Step)> {
    let network = sandbox.private_network.then_some((CLONE_NEWNET, Step::Network));
    let ipc = sandbox.private_ipc.then_some((CLONE_NEWIPC, Step::Namespace));
    network.into_iter().chain(ipc)
}

impl Manager {
    /// Gives a unit that is about to start a process its set.
    pub(super) fn share(&mut self, id: UnitId) {
        let unit = self.engine.unit(id);
        let has_part = unit
            .service
            .as_ref()
            .and_then(|service| service.context.sandbox.as_ref())
            .is_some_and(|sandbox| {
                sandbox.private_tmp || sandbox.dynamic_user || sandbox.private_network || sandbox.private_ipc
            });
        if !has_part || self.namespaces.0.contains_key(&id) {
            return;
        }
        // Joining goes both ways.
        let edges = [Edge::To(Relation::JoinsNamespaceOf), Edge::From(Relation::JoinsNamespaceOf)];
        let mut others = edges.into_iter().flat_map(|edge| self.engine.edges(id, edge));
        let joined = others.find_map(|other| self.namespaces.0.get(other)).cloned();
        let own = || Rc::new(Shared { name: unit.name.as_str().to_owned(), made: RefCell::default() });
        let shared = joined.unwrap_or_else(own);
        self.namespaces.0.insert(id, shared);
    }

    /// The namespaces that a process of the unit enters. The first that needs one makes it.
    pub(super) fn joined(
        &self,
        id: UnitId,
        sandbox: &Sandbox,
    ) -> Result<Vec<(Step, Arc<OwnedFd>)>, SpawnError> {
        let Some(shared) = self.namespaces.0.get(&id) else { return Ok(Vec::new()) };
        let mut made = shared.made.borrow_mut();
        let mut found = Vec::new();
        for (kind, step) in kinds(sandbox) {
            let namespace = match made.entry(kind) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(place) => {
                    let new = new_namespace(kind).map_err(|error| SpawnError::Namespace(step, error))?;
                    Arc::clone(place.insert(Arc::new(new)))
                }
            };
            found.push((step, namespace));
        }
        Ok(found)
    }

    /// By whose name the unit's folders in /tmp are called.
    pub(super) fn tmp_owner(&self, id: UnitId) -> &str {
        let shared = self.namespaces.0.get(&id);
        shared.map_or_else(|| self.engine.unit(id).name.as_str(), |shared| shared.name.as_str())
    }

    /// The unit is down. The set, if it was the last that had it.
    pub(super) fn unshare(&mut self, id: UnitId) -> Option<Shared> {
        Rc::into_inner(self.namespaces.0.remove(&id)?)
    }
}
