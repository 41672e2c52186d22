//! Units as a graph: every relation with its inverse.

use super::ByName;
use crate::lists::Lists;
use crate::unit::config::{DERIVED, RELATIONS};
use crate::unit::{Kind, LoadState, Relation, Unit, UnitName};
use std::collections::BTreeSet;

/// A unit in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub(super) u32);

impl UnitId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// Its number, which no other unit has as long as this one is known.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.0)
    }
}

/// A relation as seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Edge {
    /// As the unit says it.
    To(Relation),
    /// As the other unit says it: `From(Requires)` is systemd's `RequiredBy`.
    From(Relation),
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    units: Vec<Unit>,
    by_name: ByName,
    edges: Vec<Lists<Edge, UnitId>>,
    free: BTreeSet<UnitId>,
}

impl Graph {
    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    pub(super) fn unit(&self, id: UnitId) -> &Unit {
        &self.units[id.index()]
    }

    pub(super) fn find(&self, name: &UnitName) -> Option<UnitId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn edges(&self, id: UnitId, edge: Edge) -> &[UnitId] {
        self.edges[id.index()].of(edge)
    }

    pub(super) fn aliases(&self, id: UnitId) -> Vec<&UnitName> {
        let own = &self.unit(id).name;
        let mut names: Vec<_> = self
            .by_name
            .iter()
            .filter(|(name, of)| **of == id && *name != own)
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names
    }

    pub(super) fn missing(&self) -> Vec<UnitName> {
        let mut names: Vec<_> = self
            .units
            .iter()
            .flat_map(|unit| unit.relations.values())
            .filter(|name| !self.by_name.contains_key(name))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn add(&mut self, units: impl IntoIterator<Item = (Unit, Option<UnitName>)>) {
        for (unit, alias) in units {
            let known = self.by_name.get(&unit.name).copied();
            let id = known.or_else(|| self.free.pop_first()).unwrap_or(UnitId(self.units.len() as u32));
            self.by_name.insert(unit.name.clone(), id);
            if let Some(alias) = alias {
                self.by_name.insert(alias, id);
            }
            match self.units.get_mut(id.index()) {
                Some(old) => *old = unit,
                None => self.units.push(unit),
            }
        }
        self.link();
    }

    fn link(&mut self) {
        self.edges = self.units.iter().map(|_| Lists::default()).collect();
        for index in 0..self.units.len() {
            let from = UnitId(index as u32);
            for (_, relation) in RELATIONS.into_iter().chain(DERIVED) {
                let names = self.units[index].related(relation).to_vec();
                for name in names {
                    if let Some(to) = self.find(&name) {
                        self.relate(from, relation, to);
                    }
                }
            }
        }
        for index in 0..self.units.len() {
            self.order_target(UnitId(index as u32));
        }
        for edges in &mut self.edges {
            edges.shrink();
        }
    }

    /// Takes a relation in the direction in which it is looked up.
    fn relate(&mut self, from: UnitId, relation: Relation, to: UnitId) {
        match relation {
            Relation::ReloadPropagatedFrom => self.connect(to, Relation::PropagatesReloadTo, from),
            Relation::StopPropagatedFrom => self.connect(to, Relation::PropagatesStopTo, from),
            Relation::TriggeredBy => self.connect(to, Relation::Triggers, from),
            Relation::RequiresMountsFor => {
                // A folder that is no mount point has no unit; one that the kernel shows has no file
                // and cannot be started again: systemd's unit_add_mount_dependencies().
                let mount = self.unit(to);
                if mount.load_state == LoadState::Loaded {
                    let startable = mount.fragment.is_some();
                    self.connect(from, Relation::After, to);
                    if startable {
                        self.connect(from, Relation::Requires, to);
                    }
                }
            }
            relation => self.connect(from, relation, to),
        }
    }

    /// Forgets a unit; its number is given to the next one.
    pub(super) fn forget(&mut self, id: UnitId) {
        self.by_name.retain(|_, of| *of != id);
        self.units[id.index()].relations.clear();
        if self.free.insert(id) {
            self.link();
        }
    }

    pub(super) fn is_free(&self, id: UnitId) -> bool {
        self.free.contains(&id)
    }

    fn connect(&mut self, from: UnitId, relation: Relation, to: UnitId) {
        if from == to {
            return;
        }
        for (unit, edge, other) in [(from, Edge::To(relation), to), (to, Edge::From(relation), from)] {
            self.edges[unit.index()].push_new(edge, other);
        }
    }

    /// A target starts after what it pulls in, unless one of the two opts out or the order is given
    /// the other way round (systemd.target(5), "Default Dependencies").
    fn order_target(&mut self, target: UnitId) {
        let unit = self.unit(target);
        if unit.name.kind() != Kind::Target
            || !unit.default_dependencies
            || unit.load_state != LoadState::Loaded
        {
            return;
        }
        for relation in [Relation::Requires, Relation::Wants, Relation::BindsTo, Relation::Requisite] {
            for other in self.edges(target, Edge::To(relation)).to_vec() {
                let opposite = self.edges(target, Edge::To(Relation::Before)).contains(&other)
                    || self.edges(other, Edge::To(Relation::After)).contains(&target);
                if self.unit(other).default_dependencies && !opposite {
                    self.connect(target, Relation::After, other);
                }
            }
        }
    }

    /// Units that `id` is ordered after, whichever end says so.
    pub(super) fn after(&self, id: UnitId) -> impl Iterator<Item = UnitId> + '_ {
        let own = self.edges(id, Edge::To(Relation::After));
        own.iter().chain(self.edges(id, Edge::From(Relation::Before))).copied()
    }

    /// Units that are ordered after `id`, whichever end says so.
    pub(super) fn before(&self, id: UnitId) -> impl Iterator<Item = UnitId> + '_ {
        let own = self.edges(id, Edge::To(Relation::Before));
        own.iter().chain(self.edges(id, Edge::From(Relation::After))).copied()
    }

    /// Units reached over any of `edges`, each once.
    pub(super) fn over(&self, id: UnitId, edges: &[Edge]) -> Vec<UnitId> {
        let mut found: Vec<UnitId> = Vec::new();
        for edge in edges {
            for other in self.edges(id, *edge) {
                if !found.contains(other) {
                    found.push(*other);
                }
            }
        }
        found
    }
}

/// Units that stop when this one stops.
pub(super) const STOPPED_WITH: [Edge; 5] = [
    Edge::From(Relation::Requires),
    Edge::From(Relation::BindsTo),
    Edge::From(Relation::Requisite),
    Edge::From(Relation::PartOf),
    Edge::To(Relation::PropagatesStopTo),
];

/// Units whose start fails when this one's does.
pub(super) const FAILS_WITH: [Edge; 3] =
    [Edge::From(Relation::Requires), Edge::From(Relation::BindsTo), Edge::From(Relation::Requisite)];
