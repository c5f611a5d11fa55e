//! Rules of one call that compare one argument with values: what they say together is a value for each interval of the
//! argument, which a search finds where a chain of comparisons would load and compare it again for each rule. Pure.

use super::profile::{Comparison, Condition};
use super::verdicts::Alternative;
use std::collections::BTreeSet;

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
        let index = alternatives.first()?.conditions.only()?.index;
        // Where each alternative, by its place, begins or ceases to hold. The default is the last one and always holds.
        let mut edges = vec![(0, alternatives.len())];
        for (place, alternative) in alternatives.iter().enumerate() {
            let condition = alternative.conditions.only().filter(|condition| condition.index == index)?;
            edges.extend(condition.edges()?.into_iter().flatten().map(|value| (value, place)));
        }
        edges.sort_unstable();
        let mut holding = BTreeSet::new();
        let mut from = Vec::new();
        for edges in edges.chunk_by(|(one, _), (next, _)| one == next) {
            for (_, place) in edges {
                if !holding.remove(place) {
                    holding.insert(*place);
                }
            }
            let first = holding.first().and_then(|place: &usize| alternatives.get(*place));
            let returns = first.map_or(default, |one| one.returns);
            from.extend(edges.first().map(|(value, _)| (*value, returns)));
        }
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
    /// The values of the argument at which the condition begins or ceases to hold; below all of them it does not. None for
    /// one that looks at bits.
    fn edges(&self) -> Option<[Option<u64>; 3]> {
        let at = Some(self.value);
        let above = self.value.checked_add(1);
        Some(match self.comparison {
            Comparison::Ne => [Some(0), at, above],
            Comparison::Lt => [Some(0), at, None],
            Comparison::Le => [Some(0), above, None],
            Comparison::Eq => [at, above, None],
            Comparison::Ge => [at, None, None],
            Comparison::Gt => [above, None, None],
            Comparison::Masked(_) => return None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::abi::Call;
    use super::super::verdicts::Conditions;
    use super::*;

    const DEFAULT: u32 = 9;

    fn alternative(conditions: &[(u8, Comparison, u64)], returns: u32) -> Alternative {
        let conditions = conditions.iter().map(|&(index, comparison, value)| Condition { index, comparison, value });
        let origin = (0, Call::named("read").unwrap());
        Alternative { conditions: Conditions::new(conditions).unwrap(), returns, origin }
    }

    fn from(alternatives: &[Alternative]) -> Option<Vec<(u64, u32)>> {
        Intervals::new(alternatives, DEFAULT).map(|intervals| intervals.from)
    }

    #[test]
    fn the_first_alternative_that_holds_decides() {
        let equal = alternative(&[(1, Comparison::Eq, 7)], 1);
        let below = alternative(&[(1, Comparison::Lt, 10)], 2);
        let above = alternative(&[(1, Comparison::Gt, 20)], 3);
        let other = alternative(&[(1, Comparison::Ne, 15)], 4);
        let all = [equal, below, above, other];
        let expected = vec![(0, 2), (7, 1), (8, 2), (10, 4), (15, DEFAULT), (16, 4), (21, 3)];
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
