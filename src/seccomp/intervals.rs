//! Rules of one call that compare one argument with values: what they say together is a value for each interval of the
//! argument, which a search finds where a chain of comparisons would load and compare it again for each rule. Pure.

use super::profile::{Comparison, Condition};
use super::verdicts::Alternative;

/// What a call returns by the value of one argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    /// The argument, 0 to 5.
    pub(super) index: u8,
    /// The first value of each interval, and what is returned up to the next one's. The first is of 0.
    pub(super) from: Vec<(u64, u32)>,
}

impl Intervals {
    /// The intervals of `alternatives`, of which the first that holds decides, and else `default`. None when they look
    /// at more than one argument, or at bits of it.
    pub(super) fn new(alternatives: &[Alternative], default: u32) -> Option<Self> {
        let conditions = || alternatives.iter().flat_map(|alternative| &alternative.conditions);
        let index = conditions().next()?.index;
        let mut edges = vec![0];
        for condition in conditions() {
            if condition.index != index || matches!(condition.comparison, Comparison::Masked(_)) {
                return None;
            }
            // At its value and just above every comparison may change.
            edges.push(condition.value);
            edges.extend(condition.value.checked_add(1));
        }
        edges.sort_unstable();
        edges.dedup();
        let returns = |value| {
            let holds = |one: &&Alternative| one.conditions.iter().all(|condition| condition.holds(value));
            alternatives.iter().find(holds).map_or(default, |one| one.returns)
        };
        let mut from: Vec<_> = edges.into_iter().map(|value| (value, returns(value))).collect();
        from.dedup_by_key(|(_, returns)| *returns);
        Some(Self { index, from })
    }

    /// The upper halves of first values, each with the lower ones and what is returned from there.
    #[expect(clippy::cast_possible_truncation, reason = "halves")]
    pub(super) fn by_upper_half(&self) -> impl Iterator<Item = (u32, impl Iterator<Item = (u32, u32)>)> {
        let chunks = self.from.chunk_by(|(one, _), (next, _)| one >> 32 == next >> 32);
        chunks.map(|chunk| {
            let upper = chunk.first().map_or(0, |(value, _)| value >> 32);
            (upper as u32, chunk.iter().map(|(value, returns)| (*value as u32, *returns)))
        })
    }
}

impl Condition {
    fn holds(&self, value: u64) -> bool {
        match self.comparison {
            Comparison::Ne => value != self.value,
            Comparison::Lt => value < self.value,
            Comparison::Le => value <= self.value,
            Comparison::Eq => value == self.value,
            Comparison::Ge => value >= self.value,
            Comparison::Gt => value > self.value,
            Comparison::Masked(mask) => value & mask == self.value & mask,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DEFAULT: u32 = 9;

    fn alternative(conditions: &[(u8, Comparison, u64)], returns: u32) -> Alternative {
        let conditions = conditions.iter().map(|&(index, comparison, value)| Condition { index, comparison, value });
        Alternative { conditions: conditions.collect(), returns }
    }

    fn from(alternatives: &[Alternative]) -> Option<Vec<(u64, u32)>> {
        Intervals::new(alternatives, DEFAULT).map(|intervals| intervals.from)
    }

    #[test]
    fn the_first_alternative_that_holds_decides() {
        let equal = alternative(&[(1, Comparison::Eq, 7)], 1);
        let below = alternative(&[(1, Comparison::Lt, 10)], 2);
        let within = alternative(&[(1, Comparison::Gt, 20), (1, Comparison::Le, 30)], 3);
        let all = [equal, below, within];
        let expected = vec![(0, 2), (7, 1), (8, 2), (10, DEFAULT), (21, 3), (31, DEFAULT)];
        assert_eq!(from(&all).unwrap(), expected);
        assert_eq!(from(&all[1..2]).unwrap(), [(0, 2), (10, DEFAULT)]);
    }

    #[test]
    fn ends_of_all_values() {
        assert_eq!(from(&[alternative(&[(0, Comparison::Ne, u64::MAX)], 1)]).unwrap(), [(0, 1), (u64::MAX, DEFAULT)]);
        assert_eq!(from(&[alternative(&[(0, Comparison::Ge, 0)], 1)]).unwrap(), [(0, 1)]);
        assert_eq!(from(&[alternative(&[(0, Comparison::Lt, 0)], 1)]).unwrap(), [(0, DEFAULT)]);
    }

    #[test]
    fn other_rules_are_none() {
        assert_eq!(from(&[alternative(&[(0, Comparison::Masked(8), 8)], 1)]), None);
        assert_eq!(from(&[alternative(&[(0, Comparison::Eq, 8), (1, Comparison::Eq, 8)], 1)]), None);
        assert_eq!(from(&[alternative(&[(0, Comparison::Eq, 8)], 1), alternative(&[(2, Comparison::Eq, 8)], 1)]), None);
    }
}
