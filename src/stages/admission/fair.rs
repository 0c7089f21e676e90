//! Whose turn is next among the clients of one class: start-time fair queuing by share.
//!
//! Goyal, Vin and Cheng, "Start-time Fair Queuing" (1996): each client that waits carries the
//! virtual time at which its next request starts; the smallest goes first, and moves its client on
//! by one share's worth. Virtual time is the start of whoever went last, so who was idle comes back
//! at the present, with no credit. A client that stops waiting is forgotten as soon as virtual time
//! has passed its tag: from then on remembering it would change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Virtual time. Wide enough for a queue that is never empty for as long as the process lives.
type Tag = u128;

/// What a request of a client with share 1 costs; the largest share still costs 256.
const COST: Tag = 1 << 40;

/// A client with requests that wait, or whose last ones still count.
#[derive(Debug)]
struct Flow {
    client: Arc<str>,
    share: u32,
    /// When its next request starts.
    tag: Tag,
    /// Places in order. Apart from the writes, so that held writes are stepped over at once.
    reads: BTreeSet<u64>,
    writes: BTreeSet<u64>,
}

impl Flow {
    fn next(&self, reads_only: bool) -> Option<u64> {
        let write = self.writes.first().filter(|_| !reads_only);
        self.reads.first().into_iter().chain(write).min().copied()
    }

    fn len(&self) -> usize {
        self.reads.len() + self.writes.len()
    }

    fn crowd(&self) -> u64 {
        crowd(self.len(), self.share)
    }

    /// The place that would be served last.
    fn last(&self) -> Option<u64> {
        self.reads.last().into_iter().chain(self.writes.last()).max().copied()
    }
}

/// How many wait for each share, in parts of one request.
pub fn crowd(waiting: usize, share: u32) -> u64 {
    (waiting as u64).saturating_mul(1 << 20) / u64::from(share.max(1))
}

/// The queue of one class.
#[derive(Debug, Default)]
pub struct Fair {
    flows: BTreeMap<u64, Flow>,
    numbers: BTreeMap<Arc<str>, u64>,
    number_next: u64,
    virtual_time: Tag,
    /// Flows in the order of their tags: those that wait, those of them that wait to read, and
    /// those that do not wait but are remembered.
    waiting: BTreeSet<(Tag, u64)>,
    reading: BTreeSet<(Tag, u64)>,
    remembered: BTreeSet<(Tag, u64)>,
    /// Those that wait, in the order of how much they wait with for their share.
    crowds: BTreeSet<(u64, u64)>,
    len: usize,
}

impl Fair {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is anybody to take.
    pub fn has(&self, reads_only: bool) -> bool {
        !if reads_only { self.reading.is_empty() } else { self.waiting.is_empty() }
    }

    /// How many of a client wait.
    pub fn len_of(&self, client: &str) -> usize {
        let flow = self.numbers.get(client).and_then(|number| self.flows.get(number));
        flow.map_or(0, Flow::len)
    }

    /// How much the client waits with that waits with most for its share, and the last place of it.
    pub fn largest(&self) -> Option<(u64, u64)> {
        let (crowd, flow) = *self.crowds.last()?;
        Some((crowd, self.flows.get(&flow)?.last()?))
    }

    /// Puts a place behind the smaller ones of its client; gives the number of the client's flow.
    /// That flow starts at the present, or later if it is still remembered.
    pub fn push(&mut self, client: &Arc<str>, share: u32, writes: bool, place: u64) -> u64 {
        let number = match self.numbers.get(client) {
            Some(number) => *number,
            None => self.begin(client),
        };
        let added = self.change(number, |flow| {
            flow.share = share.max(1);
            if writes { flow.writes.insert(place) } else { flow.reads.insert(place) }
        });
        self.len += usize::from(added == Some(true));
        number
    }

    /// Removes a place; whether it was there.
    pub fn remove(&mut self, number: u64, writes: bool, place: u64) -> bool {
        let removed = self.change(number, |flow| {
            if writes { flow.writes.remove(&place) } else { flow.reads.remove(&place) }
        });
        self.shrink(removed == Some(true));
        removed == Some(true)
    }

    /// Takes the place whose turn it is.
    pub fn take(&mut self, reads_only: bool) -> Option<u64> {
        let order = if reads_only { &self.reading } else { &self.waiting };
        let (tag, number) = *order.first()?;
        // A flow whose writes were held stands behind the present; it does not catch up.
        self.virtual_time = self.virtual_time.max(tag);
        let now = self.virtual_time;
        let place = self.change(number, |flow| {
            let place = flow.next(reads_only)?;
            flow.reads.remove(&place);
            flow.writes.remove(&place);
            flow.tag = now.saturating_add(COST / Tag::from(flow.share));
            Some(place)
        });
        self.shrink(place.is_some());
        place.flatten()
    }

    /// Who waits, and with how many.
    pub fn by_client(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let flows = self.flows.values().map(|flow| (&flow.client, flow.len()));
        flows.filter(|(_, waiting)| *waiting > 0)
    }

    fn begin(&mut self, client: &Arc<str>) -> u64 {
        let number = self.number_next;
        self.number_next += 1;
        let flow = Flow {
            client: client.clone(),
            share: 1,
            tag: self.virtual_time,
            reads: BTreeSet::new(),
            writes: BTreeSet::new(),
        };
        self.flows.insert(number, flow);
        self.numbers.insert(client.clone(), number);
        number
    }

    /// Changes a flow between taking it out of the orders and putting it back where it belongs.
    fn change<T>(&mut self, number: u64, change: impl FnOnce(&mut Flow) -> T) -> Option<T> {
        let flow = self.flows.get_mut(&number)?;
        let before = (flow.tag, number);
        self.crowds.remove(&(flow.crowd(), number));
        for order in [&mut self.waiting, &mut self.reading, &mut self.remembered] {
            order.remove(&before);
        }
        let result = change(flow);
        let after = (flow.tag, number);
        if !flow.reads.is_empty() {
            self.reading.insert(after);
        }
        if flow.len() > 0 {
            self.crowds.insert((flow.crowd(), number));
        }
        let order = if flow.len() > 0 { &mut self.waiting } else { &mut self.remembered };
        order.insert(after);
        Some(result)
    }

    /// Counts one less, and forgets the flows that no longer matter.
    fn shrink(&mut self, removed: bool) {
        self.len -= usize::from(removed && self.len > 0);
        if self.len == 0 {
            // Nobody waits: all are equal again.
            let number_next = self.number_next;
            *self = Fair { number_next, ..Fair::default() };
            return;
        }
        while let Some(&(tag, number)) = self.remembered.first() {
            if tag > self.virtual_time {
                break;
            }
            self.remembered.pop_first();
            if let Some(flow) = self.flows.remove(&number) {
                self.numbers.remove(&flow.client);
            }
        }
    }

    /// How many clients it knows anything of.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        let orders = self.waiting.len() + self.remembered.len();
        assert_eq!(self.crowds.len(), self.waiting.len());
        self.flows.len().max(self.numbers.len()).max(orders).max(self.reading.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64) -> Arc<str> {
        format!("client-{number}").into()
    }

    /// Fills `queue` with `count` places for each (client, share); places name their client.
    fn fill(queue: &mut Fair, clients: &[(u64, u32)], count: u64) {
        for (number, share) in clients {
            for place in 0..count {
                queue.push(&client(*number), *share, false, number * 1_000 + place);
            }
        }
    }

    fn taken(queue: &mut Fair, count: usize) -> Vec<u64> {
        (0..count).filter_map(|_| queue.take(false)).map(|place| place / 1_000).collect()
    }

    #[test]
    fn shares_are_kept_over_any_stretch() {
        let mut queue = Fair::default();
        fill(&mut queue, &[(1, 1), (2, 2), (3, 5)], 100);
        for round in 0..10 {
            let taken = taken(&mut queue, 8);
            let count = |number| taken.iter().filter(|taken| **taken == number).count();
            assert_eq!((count(1), count(2), count(3)), (1, 2, 5), "round {round}: {taken:?}");
        }
    }

    #[test]
    fn who_was_idle_gets_no_credit() {
        let mut queue = Fair::default();
        fill(&mut queue, &[(1, 1)], 100);
        taken(&mut queue, 50);
        fill(&mut queue, &[(2, 1)], 20);
        assert_eq!(taken(&mut queue, 6), [2, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn who_left_and_came_back_has_not_gained() {
        let mut queue = Fair::default();
        fill(&mut queue, &[(1, 1), (2, 1)], 10);
        let last = client(3);
        // Always one at a time: its flow is empty between two of them.
        let mut served = 0;
        for turn in 0..12 {
            queue.push(&last, 1, false, 3_000 + turn);
            let taken = taken(&mut queue, 1);
            served += usize::from(taken == [3]);
            let still = queue.numbers.get(&last).copied();
            assert!(still.is_some());
            queue.remove(still.unwrap(), false, 3_000 + turn);
        }
        assert_eq!(served, 4, "a third");
    }

    #[test]
    fn held_writes_are_stepped_over_and_do_not_catch_up() {
        let mut queue = Fair::default();
        for place in 0..10 {
            queue.push(&client(1), 1, true, 1_000 + place);
            queue.push(&client(2), 1, place < 2, 2_000 + place);
        }
        let reads: Vec<u64> = (0..4).filter_map(|_| queue.take(true)).collect();
        assert_eq!(reads, [2_002, 2_003, 2_004, 2_005]);
        let all: Vec<u64> = (0..4).filter_map(|_| queue.take(false)).collect();
        assert_eq!(all, [1_000, 1_001, 2_000, 1_002]);
    }

    #[test]
    fn nothing_is_remembered_for_nothing() {
        let mut queue = Fair::default();
        queue.push(&client(0), 1, false, 1);
        for number in 1..100 {
            let flow = queue.push(&client(number), 1, true, number);
            assert!(queue.remove(flow, true, number));
            assert!(!queue.remove(flow, true, number));
        }
        assert_eq!((queue.len(), queue.known()), (1, 1));
        assert_eq!(queue.take(false), Some(1));
        assert_eq!((queue.len(), queue.known(), queue.take(false)), (0, 0, None));
    }
}
