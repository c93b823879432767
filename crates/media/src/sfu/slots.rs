//! Numbered places whose numbers stay while their content does.

/// A list of places, free ones reused.
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Takes a place.
    pub(super) fn insert(&mut self, content: T) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.slots[place] = Some(content);
                place
            }
            None => {
                self.slots.push(Some(content));
                self.slots.len() - 1
            }
        }
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        let content = self.slots.get_mut(place)?.take()?;
        self.free.push(place);
        Some(content)
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.slots.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// Whether no place is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Everything in it.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }
}
