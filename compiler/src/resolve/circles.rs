//! Mail that would go round for ever: groups, aliases and lists in a circle, and bounces that come back to their list.

use super::People;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use schema::name::Address;
use std::collections::{HashMap, HashSet};

/// Finds every circle.
pub fn circles(people: &People, report: &mut Report) {
    let graph = Graph::of(people);
    graph.members(people, report);
    graph.owners(people, report);
}

/// Who sends on to whom, each by its number.
struct Graph<'a> {
    names: Vec<&'a Address>,
    /// To members, as the server finds them.
    members: Vec<Vec<usize>>,
    /// To a list's owners, who get its bounces.
    owners: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn of(people: &'a People) -> Graph<'a> {
        let groups = people.groups.iter().map(|group| (&group.address, &group.members, None));
        let lists = people.lists.iter().map(|list| (&list.address, &list.members, Some(&list.owners)));
        // Two with one address are an error already; the first stands for both.
        let mut seen = HashSet::new();
        let mut nodes: Vec<_> = groups.chain(lists).filter(|(address, ..)| seen.insert(*address)).collect();
        nodes.sort_by_key(|(address, ..)| *address);
        let numbers: HashMap<&Address, usize> = nodes.iter().enumerate().map(|(n, (name, ..))| (*name, n)).collect();
        let bound = |to: &[Address]| -> Vec<usize> {
            let owners = to.iter().filter_map(|address| people.owner_of(address));
            owners.filter_map(|owner| numbers.get(&owner).copied()).collect()
        };
        Graph {
            names: nodes.iter().map(|(name, ..)| *name).collect(),
            members: nodes.iter().map(|(_, members, _)| bound(members)).collect(),
            owners: nodes.iter().map(|(.., owners)| owners.map_or_else(Vec::new, |owners| bound(owners))).collect(),
        }
    }

    /// Circles of members.
    fn members(&self, people: &People, report: &mut Report) {
        let mut done = vec![false; self.names.len()];
        let mut on_way = vec![false; self.names.len()];
        for start in 0..self.names.len() {
            if done[start] {
                continue;
            }
            // A chain of groups may be as long as the spec, so the way is kept here and not on the stack.
            let mut way = vec![(start, 0)];
            on_way[start] = true;
            while let Some((at, next)) = way.last_mut() {
                let at = *at;
                let member = self.members[at].get(*next).copied();
                *next += 1;
                match member {
                    None => {
                        (done[at], on_way[at]) = (true, false);
                        way.pop();
                    }
                    Some(member) if on_way[member] => {
                        let from = way.iter().position(|(one, _)| *one == member).unwrap_or(0);
                        let names: Vec<String> =
                            way[from..].iter().map(|(one, _)| format!("`{}`", self.names[*one])).collect();
                        let to = self.names[member];
                        let says = format!("mail goes round for ever: {} → `{to}`", names.join(" → "));
                        report
                            .find(Code::Circle, people.written_at(to), says)
                            .help("take one of them out of the other");
                    }
                    Some(member) if !done[member] => {
                        on_way[member] = true;
                        way.push((member, 0));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Lists that their own bounces reach: whose owner lies in one circle with them.
    fn owners(&self, people: &People, report: &mut Report) {
        let part = self.parts();
        for (at, owners) in self.owners.iter().enumerate() {
            let Some(owner) = owners.iter().find(|owner| part[**owner] == part[at]) else { continue };
            let (list, owner) = (self.names[at], self.names[*owner]);
            let says = if owner == list {
                format!("bounces of the list `{list}` go to the list itself")
            } else {
                format!("bounces of the list `{list}` go to `{owner}`, and come back to the list")
            };
            report
                .find(Code::OwnerLoops, owner_path(people, list), says)
                .help("write `owner \"…\"`, an account or an address elsewhere");
        }
    }

    /// The strongly connected part that each lies in (Kosaraju's way: in the order of leaving, against the arrows).
    fn parts(&self) -> Vec<usize> {
        let count = self.names.len();
        let arrows = |at: usize| self.members[at].iter().chain(&self.owners[at]).copied();
        let mut against = vec![Vec::new(); count];
        let (mut seen, mut left) = (vec![false; count], Vec::with_capacity(count));
        for start in 0..count {
            let mut stack = vec![(start, false)];
            while let Some((at, leaving)) = stack.pop() {
                if leaving {
                    left.push(at);
                } else if !std::mem::replace(&mut seen[at], true) {
                    stack.push((at, true));
                    for to in arrows(at) {
                        against[to].push(at);
                        stack.push((to, false));
                    }
                }
            }
        }
        let mut part = vec![usize::MAX; count];
        for start in left.into_iter().rev() {
            let mut stack = vec![start];
            while let Some(at) = stack.pop() {
                if part[at] == usize::MAX {
                    part[at] = start;
                    stack.extend(&against[at]);
                }
            }
        }
        part
    }
}

/// Where a list's owners are written, or the list.
fn owner_path(people: &People, list: &Address) -> Path {
    // The place of the list's name, one step below the list's node.
    let at = people.written_at(list);
    let steps = at.steps().len().saturating_sub(1);
    at.steps().iter().take(steps).cloned().collect::<Path>().field("owner")
}
