//! Who waits, and whose turn is next: classes in order, clients by share, a client's own in order.
//!
//! High goes before normal and normal before low, but not for ever: of any [`ROUND`] admissions
//! that a lower class could have had, one is its own.

use super::fair::{Fair, crowd};
use super::{Ticket, Turn};
use crate::model::limits::Priority;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of so many admissions, a lower class that waits gets one.
pub const ROUND: u32 = 16;

/// In their order.
pub const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// Places of those who came back lie before this one, all others from it on.
const ORDINARY: u64 = 1 << 63;

/// Where a turn waits.
#[derive(Clone, Copy, Debug)]
struct Place {
    priority: Priority,
    flow: u64,
    writes: bool,
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Queue {
    high: Fair,
    normal: Fair,
    low: Fair,
    places: BTreeMap<u64, Place>,
    place_next: u64,
    /// Admissions that the class could have had and others got.
    normal_passed: u32,
    low_passed: u32,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// How many of one class wait.
    pub fn len_of(&self, priority: Priority) -> usize {
        self.class(priority).len()
    }

    /// Whether somebody of a class may be taken.
    pub fn has(&self, priority: Priority, reads_only: bool) -> bool {
        self.class(priority).has(reads_only)
    }

    /// Who waits, by client; one who waits in two classes is named twice.
    pub fn by_client(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        CLASSES.into_iter().flat_map(|priority| self.class(priority).by_client())
    }

    /// Waits: behind the others of its client, or before them, behind those who came back earlier.
    pub fn push(&mut self, ticket: &Ticket, head: bool) -> Turn {
        let place = self.place_next + if head { 0 } else { ORDINARY };
        self.place_next += 1;
        let Ticket { client, share, priority, writes } = ticket;
        let flow = self.class_mut(*priority).push(client, *share, *writes, place);
        self.places.insert(place, Place { priority: *priority, flow, writes: *writes });
        Turn(place)
    }

    /// Finds somebody who gives his place in a full queue to a newcomer: the last comer of a lower
    /// class, or of the client of the same class that waits with more for its share than the
    /// newcomer's would. Nobody who has had his turn before gives it away.
    pub fn displaced_by(&self, ticket: &Ticket) -> Option<Turn> {
        let mut lower = CLASSES.into_iter().rev().take_while(|class| *class < ticket.priority);
        let (_, place) = match lower.find_map(|class| self.class(class).largest()) {
            Some(largest) => largest,
            None => {
                let class = self.class(ticket.priority);
                let own = crowd(class.len_of(&ticket.client) + 1, ticket.share);
                class.largest().filter(|(largest, _)| *largest > own)?
            }
        };
        (place >= ORDINARY).then_some(Turn(place))
    }

    /// Waits no longer; whether it did.
    pub fn remove(&mut self, turn: Turn) -> bool {
        let Some(Place { priority, flow, writes }) = self.places.remove(&turn.0) else {
            return false;
        };
        self.class_mut(priority).remove(flow, writes, turn.0)
    }

    /// Takes the next one out of the classes that are `open`.
    pub fn take(
        &mut self,
        reads_only: bool,
        open: impl Fn(Priority) -> bool,
    ) -> Option<(Turn, Priority)> {
        let may = CLASSES.map(|priority| self.has(priority, reads_only) && open(priority));
        let [high, normal, low] = may;
        // One earlier for normal: where both are due low goes first, and normal is still in time.
        let priority = if low && self.low_passed >= ROUND - 1 {
            Priority::Low
        } else if normal && self.normal_passed >= ROUND - 2 {
            Priority::Normal
        } else if high {
            Priority::High
        } else if normal {
            Priority::Normal
        } else if low {
            Priority::Low
        } else {
            return None;
        };
        let place = self.class_mut(priority).take(reads_only)?;
        self.places.remove(&place);
        for (class, passed, could) in [
            (Priority::Normal, &mut self.normal_passed, normal),
            (Priority::Low, &mut self.low_passed, low),
        ] {
            *passed = if class == priority { 0 } else { passed.saturating_add(u32::from(could)) };
        }
        Some((Turn(place), priority))
    }

    fn class(&self, priority: Priority) -> &Fair {
        match priority {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        }
    }

    fn class_mut(&mut self, priority: Priority) -> &mut Fair {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }

    /// How many clients it knows anything of.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        CLASSES.iter().map(|priority| self.class(*priority).known()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(client: &str, priority: Priority) -> Ticket {
        Ticket { client: client.into(), share: 1, priority, writes: false }
    }

    fn filled(classes: &[Priority], count: usize) -> Queue {
        let mut queue = Queue::default();
        for priority in classes.iter().flat_map(|class| std::iter::repeat_n(*class, count)) {
            queue.push(&ticket(priority.word(), priority), false);
        }
        queue
    }

    #[test]
    fn no_class_starves() {
        let mut queue = filled(&CLASSES, 200);
        let order: Vec<Priority> =
            (0..160).filter_map(|_| queue.take(false, |_| true)).map(|(_, class)| class).collect();
        for window in order.windows(ROUND as usize) {
            for class in CLASSES {
                assert!(window.contains(&class), "{class:?} in {window:?}");
            }
            let high = window.iter().filter(|class| **class == Priority::High).count();
            assert!(high >= 13, "{window:?}");
        }
    }

    #[test]
    fn a_full_queue_makes_room_for_who_waits_with_less() {
        let mut queue = Queue::default();
        let turns: Vec<Turn> =
            (0..10).map(|_| queue.push(&ticket("greedy", Priority::Normal), false)).collect();
        for (client, priority, displaces) in [
            // One of the greedy client's own waits with more than the others' would.
            ("greedy", Priority::Normal, false),
            ("other", Priority::Normal, true),
            ("other", Priority::High, true),
            ("greedy", Priority::High, true),
            ("other", Priority::Low, false),
        ] {
            let displaced = queue.displaced_by(&ticket(client, priority));
            let expected = turns.last().copied().filter(|_| displaces);
            assert_eq!(displaced, expected, "{client} {priority:?}");
        }
        // With ten times the share, ten times as many are no more than one.
        let large = Ticket { share: 10, ..ticket("large", Priority::High) };
        let mut queue = Queue::default();
        let _: Vec<Turn> = (0..10).map(|_| queue.push(&large, false)).collect();
        assert_eq!(queue.displaced_by(&ticket("small", Priority::High)), None);
        // Those who came back stay.
        let mut queue = Queue::default();
        let back = ticket("greedy", Priority::Low);
        let _: Vec<Turn> = (0..10).map(|_| queue.push(&back, true)).collect();
        assert_eq!(queue.displaced_by(&ticket("other", Priority::High)), None);
    }

    #[test]
    fn a_closed_class_is_not_passed() {
        let mut queue = filled(&[Priority::High, Priority::Low], 50);
        for _ in 0..40 {
            let taken = queue.take(false, |class| class == Priority::High);
            assert!(matches!(taken, Some((_, Priority::High))));
        }
        assert!(matches!(queue.take(false, |_| true), Some((_, Priority::High))));
        assert!(queue.take(false, |_| false).is_none());
    }

    #[test]
    fn who_comes_back_stands_before_those_who_never_went() {
        let mut queue = Queue::default();
        let ticket = ticket("a", Priority::Normal);
        let turns: Vec<Turn> =
            [false, true, false, true].map(|head| queue.push(&ticket, head)).into();
        let mut taken = || queue.take(false, |_| true).map(|(turn, _)| turn);
        for expected in [1, 3, 0, 2] {
            assert_eq!(taken(), turns.get(expected).copied());
        }
    }
}
