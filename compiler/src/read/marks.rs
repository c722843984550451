//! What of a tree the walk left out, a bit a node and a value; nothing where all is right.

/// Something that is left out, by its file and its number there.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// A node.
    Node(usize, u32),
    /// A value.
    Value(usize, u32),
    /// A node that stands where one of its name was before; it is left out too.
    Second(usize, u32),
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Puts a number in.
    pub fn put(&mut self, number: usize) {
        let at = number / 64;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(word) = self.0.get_mut(at) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether a number is in it.
    pub fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// What is left out of a file.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    nodes: Bits,
    values: Bits,
    second: Bits,
}

impl Marks {
    /// Puts each mark to its file.
    pub fn apply(all: &mut Vec<Marks>, marks: &[Mark]) {
        for mark in marks {
            let (Mark::Node(file, _) | Mark::Value(file, _) | Mark::Second(file, _)) = mark;
            if all.len() <= *file {
                all.resize(file + 1, Marks::default());
            }
            let Some(of) = all.get_mut(*file) else { continue };
            match mark {
                Mark::Node(_, at) => of.nodes.put(*at as usize),
                Mark::Value(_, at) => of.values.put(*at as usize),
                Mark::Second(_, at) => of.second.put(*at as usize),
            }
        }
    }

    /// Whether a node is left out.
    pub fn node(&self, at: u32) -> bool {
        self.nodes.has(at as usize)
    }

    /// Whether a value is left out.
    pub fn value(&self, at: u32) -> bool {
        self.values.has(at as usize)
    }

    /// Whether a node is the second of its name.
    pub fn second(&self, at: u32) -> bool {
        self.second.has(at as usize)
    }
}
