//! What is known already: pages of keys and values by the tokens they were computed from, a tree for each session. A page
//! of a sequence is found by the tokens of all pages before it and its own.
//!
//! Pages that no sequence uses are given up in the order of their last use, the longest prefix first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::page::{PAGE_POSITIONS, Page};

/// The trees of all sessions.
#[derive(Default)]
pub(super) struct Prefixes {
    /// The first pages of each session.
    sessions: HashMap<String, Vec<NodeId>>,
    nodes: HashMap<NodeId, Node>,
    /// Nodes by their last use; a node's is always after those of the nodes below it.
    by_use: BTreeMap<u64, NodeId>,
    uses: u64,
    made: u64,
}

type NodeId = u64;

struct Node {
    session: String,
    parent: Option<NodeId>,
    /// At most [`PAGE_POSITIONS`]; only full pages have others below them.
    tokens: Vec<u32>,
    page: Page,
    below: Vec<NodeId>,
    used: u64,
}

impl Prefixes {
    /// The pages of the longest known prefix of `tokens`, and how many tokens it has. What the last page holds beyond it
    /// means nothing.
    pub(super) fn find(&mut self, session: &str, tokens: &[u32]) -> (Vec<Page>, usize) {
        let (mut path, mut pages, mut known) = (Vec::new(), Vec::new(), 0);
        while let Some((id, common)) = self.nearest(session, path.last().copied(), &tokens[known..]) {
            path.push(id);
            pages.push(Arc::clone(&self.nodes[&id].page));
            known += common;
            if common < PAGE_POSITIONS {
                break;
            }
        }
        self.touch(&path);
        (pages, known)
    }

    /// Keeps the pages of `tokens`. Where a page of the same tokens is known, that one takes the place in `pages`. The
    /// result is what nobody needs any more.
    pub(super) fn insert(&mut self, session: &str, tokens: &[u32], pages: &mut [Page]) -> Vec<Page> {
        let (mut path, mut unneeded) = (Vec::<NodeId>::new(), Vec::new());
        for (tokens, page) in tokens.chunks(PAGE_POSITIONS).zip(pages) {
            let parent = path.last().copied();
            let nearest = self.nearest(session, parent, tokens);
            match nearest.and_then(|(id, common)| Some((id, common, self.nodes.get_mut(&id)?))) {
                Some((id, common, node)) if common == tokens.len() => {
                    unneeded.push(std::mem::replace(page, Arc::clone(&node.page)));
                    path.push(id);
                }
                Some((id, common, node)) if common == node.tokens.len() => {
                    tokens.clone_into(&mut node.tokens);
                    unneeded.push(std::mem::replace(&mut node.page, Arc::clone(page)));
                    path.push(id);
                }
                _ => path.push(self.add(session, parent, tokens, page)),
            }
        }
        self.touch(&path);
        unneeded
    }

    /// Gives up the page that was not used for longest, of those no sequence uses.
    pub(super) fn evict(&mut self) -> Option<Page> {
        let unused = |id: &NodeId| self.nodes[id].below.is_empty() && Arc::strong_count(&self.nodes[id].page) == 1;
        let id = self.by_use.values().copied().find(unused)?;
        let node = self.nodes.remove(&id)?;
        self.by_use.remove(&node.used);
        let siblings = self.beneath(&node.session, node.parent);
        siblings.retain(|sibling| *sibling != id);
        if node.parent.is_none() && siblings.is_empty() {
            self.sessions.remove(&node.session);
        }
        Some(node.page)
    }

    /// The node below `parent` that has most of the first tokens in common with `tokens`, and how many; none without any.
    fn nearest(&self, session: &str, parent: Option<NodeId>, tokens: &[u32]) -> Option<(NodeId, usize)> {
        let below = match parent {
            Some(parent) => &self.nodes[&parent].below,
            None => self.sessions.get(session)?,
        };
        let common = |id: &NodeId| self.nodes[id].tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        below.iter().map(|id| (*id, common(id))).filter(|(_, common)| *common > 0).max_by_key(|(_, common)| *common)
    }

    fn add(&mut self, session: &str, parent: Option<NodeId>, tokens: &[u32], page: &Page) -> NodeId {
        let id = self.made;
        self.made += 1;
        self.uses += 1;
        let node = Node {
            session: session.to_owned(),
            parent,
            tokens: tokens.to_vec(),
            page: Arc::clone(page),
            below: Vec::new(),
            used: self.uses,
        };
        self.by_use.insert(self.uses, id);
        self.nodes.insert(id, node);
        self.beneath(session, parent).push(id);
        id
    }

    fn beneath(&mut self, session: &str, parent: Option<NodeId>) -> &mut Vec<NodeId> {
        match parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            Some(parent) => &mut parent.below,
            None => self.sessions.entry(session.to_owned()).or_default(),
        }
    }

    /// Notes that a path from a session's first page was used: the deepest page first, so that it is given up first.
    fn touch(&mut self, path: &[NodeId]) {
        for id in path.iter().rev() {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            self.uses += 1;
            self.by_use.remove(&node.used);
            node.used = self.uses;
            self.by_use.insert(node.used, *id);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::page::Numbers;
    use super::*;

    /// A page that can be told from others.
    fn page(mark: f32) -> Page {
        Arc::new(Numbers::F16(vec![f16::from_f32(mark)]))
    }

    fn mark(page: &Page) -> f32 {
        match &**page {
            Numbers::F16(numbers) => numbers[0].to_f32(),
            other => panic!("{other:?}"),
        }
    }

    fn marks(pages: &[Page]) -> Vec<f32> {
        pages.iter().map(mark).collect()
    }

    fn tokens(length: u32) -> Vec<u32> {
        (0..length).collect()
    }

    #[test]
    fn the_longest_prefix_is_found_to_the_token_and_only_by_its_session() {
        let mut prefixes = Prefixes::default();
        let mut pages = [page(1.0), page(2.0), page(3.0)];
        assert!(prefixes.insert("a", &tokens(70), &mut pages).is_empty());
        let mut other = tokens(40);
        other[35] = 7;
        // The first page is known: the sequence goes on with that one.
        let mut pages = [page(9.0), page(4.0)];
        let unneeded = prefixes.insert("a", &other, &mut pages);
        assert_eq!((marks(&unneeded), marks(&pages)), (vec![9.0], vec![1.0, 4.0]));

        let mut find = |session, tokens: &[u32]| {
            let (pages, known) = prefixes.find(session, tokens);
            (marks(&pages), known)
        };
        assert_eq!(find("a", &tokens(100)), (vec![1.0, 2.0, 3.0], 70));
        assert_eq!(find("a", &tokens(66)), (vec![1.0, 2.0, 3.0], 66));
        assert_eq!(find("a", &tokens(64)), (vec![1.0, 2.0], 64));
        assert_eq!(find("a", &tokens(20)), (vec![1.0], 20));
        assert_eq!(find("a", &other), (vec![1.0, 4.0], 40));
        assert_eq!(find("a", &[5, 6]), (vec![], 0));
        assert_eq!(find("b", &tokens(100)), (vec![], 0));
    }

    #[test]
    fn a_page_that_was_not_full_gives_way_to_one_that_holds_more() {
        let mut prefixes = Prefixes::default();
        prefixes.insert("a", &tokens(5), &mut [page(1.0)]);
        let unneeded = prefixes.insert("a", &tokens(34), &mut [page(2.0), page(3.0)]);
        assert_eq!(marks(&unneeded), [1.0]);
        let unneeded = prefixes.insert("a", &tokens(9), &mut [page(4.0)]);
        assert_eq!(marks(&unneeded), [4.0]);
        let (pages, known) = prefixes.find("a", &tokens(50));
        assert_eq!((marks(&pages), known), (vec![2.0, 3.0], 34));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays() {
        let mut prefixes = Prefixes::default();
        prefixes.insert("a", &tokens(64), &mut [page(1.0), page(2.0)]);
        prefixes.insert("b", &tokens(64), &mut [page(3.0), page(4.0)]);
        let (in_use, known) = prefixes.find("a", &tokens(32));
        assert_eq!(known, 32);
        let mut evicted = || prefixes.evict().as_ref().map(mark);
        assert_eq!([evicted(), evicted(), evicted(), evicted()], [Some(2.0), Some(4.0), Some(3.0), None]);
        drop(in_use);
        assert_eq!(prefixes.evict().as_ref().map(mark), Some(1.0));
        assert!(prefixes.sessions.is_empty() && prefixes.nodes.is_empty() && prefixes.by_use.is_empty());
    }
}
