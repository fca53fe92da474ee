//! Slots that are used again, with keys that are not.

/// Names one value for as long as the slab lives: index in the low half, use count in the high half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub u64);

impl Key {
    fn new(index: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    pub fn index(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    length: usize,
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            length: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// The key that the next insert will give.
    pub fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&index) => Key::new(index, self.slots.get(index as usize).map_or(0, |slot| slot.0)),
            None => Key::new(u32::try_from(self.slots.len()).unwrap_or(u32::MAX), 0),
        }
    }

    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.slots.get_mut(index as usize) {
                    slot.1 = Some(value);
                }
            }
            None => self.slots.push((0, Some(value))),
        }
        self.length += 1;
        key
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.slots.get(key.index() as usize)?;
        value.as_ref().filter(|_| *generation == key.generation())
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(key.index() as usize)?;
        value.as_mut().filter(|_| *generation == key.generation())
    }

    /// The full key of whatever stands at `index` now.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let (generation, value) = self.slots.get(index as usize)?;
        value.as_ref().map(|_| Key::new(index, *generation))
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, value) = self.slots.get_mut(key.index() as usize)?;
        if *generation != key.generation() {
            return None;
        }
        let value = value.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.index());
        self.length -= 1;
        Some(value)
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|(_, value)| value.as_ref())
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        (0..count).filter_map(|index| self.key_at(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_finds_the_value_that_took_its_slot() {
        let mut slab = Slab::new();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        assert_eq!(slab.remove(first), None);
        let second = slab.insert("b");
        assert_eq!(second.index(), first.index());
        assert_eq!(
            (slab.get(first), slab.get(second), slab.len()),
            (None, Some(&"b"), 1)
        );
        assert_eq!(slab.key_at(0), Some(second));
    }
}
