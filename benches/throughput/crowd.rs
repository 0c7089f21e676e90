//! Many futures that wait for one thing, and who of them was woken.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Something that waits for a `T`; who has one drops it to let the next one have it.
pub type Waits<'p, T> = Pin<Box<dyn Future<Output = T> + 'p>>;

/// Those who wait, and the one that has it.
pub struct Crowd<'p, T> {
    make: Box<dyn Fn(usize) -> Waits<'p, T> + 'p>,
    places: Vec<Option<Waits<'p, T>>>,
    wakers: Vec<Waker>,
    woken: Arc<Mutex<VecDeque<usize>>>,
    /// Places where nobody waits.
    free: Vec<usize>,
    /// Places of those who come next.
    next: Vec<usize>,
    holds: Option<T>,
}

/// Says whose turn has come, as a task's waker puts the task into a queue.
struct Called {
    place: usize,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("no panic").push_back(self.place);
    }
}

impl<'p, T> Crowd<'p, T> {
    /// Room for so many. The first one has it at once.
    pub fn new(room: usize, make: impl Fn(usize) -> Waits<'p, T> + 'p) -> Crowd<'p, T> {
        let woken = Arc::new(Mutex::new(VecDeque::with_capacity(room)));
        let waker = |place| Waker::from(Arc::new(Called { place, woken: woken.clone() }));
        let mut first = make(0);
        let holds = match first.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(it) => Some(it),
            Poll::Pending => panic!("the first one waits"),
        };
        Crowd {
            make: Box::new(make),
            places: (0..room).map(|_| None).collect(),
            wakers: (0..room).map(waker).collect(),
            woken: woken.clone(),
            free: (0..room).rev().collect(),
            next: Vec::with_capacity(room),
            holds,
        }
    }

    /// So many are about to come.
    pub fn prepare(&mut self, count: usize) {
        for _ in 0..count {
            let place = self.free.pop().expect("room");
            self.places[place] = Some((self.make)(place));
            self.next.push(place);
        }
    }

    /// They come, and wait.
    pub fn join(&mut self) {
        for place in self.next.drain(..) {
            let future = self.places[place].as_mut().expect("prepared");
            let mut context = Context::from_waker(&self.wakers[place]);
            assert!(future.as_mut().poll(&mut context).is_pending(), "it has to wait");
        }
    }

    /// So many have their turns, one after the other: what is held is given back, and whoever is
    /// woken takes it. Their places are free after [`Crowd::clear`].
    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            drop(self.holds.take());
            let place = self.woken.lock().expect("no panic").pop_front().expect("one is woken");
            let future = self.places[place].as_mut().expect("it waited");
            match future.as_mut().poll(&mut Context::from_waker(&self.wakers[place])) {
                Poll::Ready(it) => self.holds = Some(it),
                Poll::Pending => panic!("woken for nothing"),
            }
            self.free.push(place);
        }
    }

    /// Forgets the futures of those who had their turns.
    pub fn clear(&mut self) {
        self.free.iter().for_each(|place| self.places[*place] = None);
    }

    /// All leave, in an order of their own.
    pub fn leave(&mut self) {
        // A prime: every place is met once, far from the one before.
        let step = 7919;
        let room = self.places.len();
        (0..room).for_each(|number| self.places[number * step % room] = None);
    }
}
