//! Outcomes by ranges of 32-bit numbers, and the shapes among them that take fewer comparisons than a search. Pure.

/// The numbers from `first` to the next range's, or to the end of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<T> {
    /// The smallest of them.
    pub(super) first: u32,
    /// What becomes of them.
    pub(super) outcome: T,
}

/// Adds a range, unless it only continues the one before it, which goes if nothing of it is left.
pub(super) fn push<T: PartialEq>(ranges: &mut Vec<Range<T>>, first: u32, outcome: T) {
    match ranges.last_mut() {
        Some(before) if before.outcome == outcome => {}
        Some(before) if before.first == first => before.outcome = outcome,
        _ => ranges.push(Range { first, outcome }),
    }
}

/// The most single numbers in a chain, which is compared one by one: a search among them would be longer, and no faster.
pub(super) const CHAIN: usize = 5;

/// The outcome of all ranges but a few, if these are single numbers: then the ranges are a chain. The last of them goes up
/// to `end`, or to the end of all.
pub(super) fn around<T: Copy + PartialEq>(ranges: &[Range<T>], end: Option<u32>) -> Option<T> {
    let ends = || ranges.iter().skip(1).map(|next| Some(next.first)).chain([end]);
    ranges.iter().take(2).map(|range| range.outcome).find(|around| {
        let mut others = ranges.iter().zip(ends()).filter(|(range, _)| range.outcome != *around);
        others.clone().nth(CHAIN).is_none() && others.all(|(range, end)| range.first.checked_add(1) == end)
    })
}

/// Where to part ranges that are no chain: in the middle, as far as that leaves whole chains, each of single numbers and
/// what lies before them.
pub(super) fn middle<T>(ranges: &[Range<T>]) -> usize {
    let half = ranges.len() / 2;
    let whole = half.next_multiple_of(2 * CHAIN);
    if whole < ranges.len() { whole } else { half }
}

/// The outcome of one range, or of the 32 numbers from a multiple of 32 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window<T> {
    /// The same for all.
    One(T),
    /// Of a number whose bit is set in `bits`, the lowest for the first number, and of the others.
    Bits { bits: u32, set: T, clear: T },
}

/// How many ranges have to begin among 32 numbers before a test of bits is shorter than comparing them.
const DENSE: usize = 12;

/// Replaces the ranges where many of two outcomes lie close together, as the flags and kinds do that profiles list.
pub(super) fn windows<T: Copy + PartialEq>(ranges: &[Range<T>]) -> Vec<Range<Window<T>>> {
    const SIZE: u32 = u32::BITS;
    let mut windows = Vec::new();
    let mut before = None;
    for group in ranges.chunk_by(|one, next| one.first / SIZE == next.first / SIZE) {
        let Some((first, last)) = group.first().zip(group.last()) else { continue };
        let start = first.first / SIZE * SIZE;
        let at = |bit: u32| {
            let range = group.iter().rfind(|range| range.first <= start + bit);
            range.map(|range| range.outcome).or(before).unwrap_or(first.outcome)
        };
        let clear = at(0);
        let set = (0..SIZE).map(at).find(|outcome| *outcome != clear);
        match set.filter(|set| group.len() >= DENSE && (0..SIZE).map(at).all(|one| one == *set || one == clear)) {
            Some(set) => {
                let bits = (0..SIZE).filter(|bit| at(*bit) == set).fold(0, |bits, bit| bits | 1 << bit);
                push(&mut windows, start, Window::Bits { bits, set, clear });
                if let Some(next) = start.checked_add(SIZE) {
                    push(&mut windows, next, Window::One(last.outcome));
                }
            }
            None => group.iter().for_each(|range| push(&mut windows, range.first, Window::One(range.outcome))),
        }
        before = Some(last.outcome);
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(u32, char)]) -> Vec<Range<char>> {
        list.iter().map(|&(first, outcome)| Range { first, outcome }).collect()
    }

    #[test]
    fn ranges_continue_and_replace_each_other() {
        let mut pushed = Vec::new();
        for (first, outcome) in [(0, 'a'), (3, 'a'), (5, 'b'), (6, 'a'), (6, 'c')] {
            push(&mut pushed, first, outcome);
        }
        assert_eq!(pushed, ranges(&[(0, 'a'), (5, 'b'), (6, 'c')]));
    }

    #[test]
    fn chains_are_single_numbers_amid_one_outcome() {
        let check = |list: &[(u32, char)], end, expected| assert_eq!(around(&ranges(list), end), expected, "{list:?}");
        check(&[(0, 'a')], None, Some('a'));
        check(&[(0, 'a'), (4, 'b'), (5, 'a'), (9, 'c'), (10, 'a')], None, Some('a'));
        check(&[(4, 'b'), (5, 'a'), (9, 'c')], Some(10), Some('a'));
        check(&[(0, 'a'), (u32::MAX, 'b')], None, Some('a'));
        check(&[(0, 'a'), (4, 'b'), (6, 'a')], None, None);
        check(&[(4, 'b'), (5, 'a'), (9, 'c')], Some(11), None);
        let many: Vec<_> = (0..6).flat_map(|at| [(at * 9, 'a'), (at * 9 + 8, 'b')]).chain([(60, 'a')]).collect();
        check(&many, None, None);
        check(&many[2..], None, None);
        check(&many[..10], Some(45), Some('a'));
    }

    #[test]
    fn dense_ranges_become_bits() {
        let odd = |from: u32, to: u32| (from..to).map(|at| (at, if at % 2 == 0 { 'a' } else { 'b' }));
        let one = |first, outcome| Range { first, outcome: Window::One(outcome) };
        let bits = |first, bits| Range { first, outcome: Window::Bits { bits, set: 'b', clear: 'a' } };
        let dense: Vec<_> = [(0, 'a')].into_iter().chain(odd(41, 62)).collect();
        assert_eq!(windows(&ranges(&dense)), [one(0, 'a'), bits(32, 0xeaaa_aa00), one(64, 'b')]);
        let last: Vec<_> = [(0, 'a')].into_iter().chain(odd(u32::MAX - 30, u32::MAX)).collect();
        assert_eq!(windows(&ranges(&last)), [one(0, 'a'), bits(u32::MAX - 31, 0x2aaa_aaaa)]);
        let sparse: Vec<_> = odd(0, 11).collect();
        assert!(windows(&ranges(&sparse)).iter().all(|range| matches!(range.outcome, Window::One(_))));
        let three: Vec<_> = odd(0, 30).chain([(31, 'c')]).collect();
        assert!(windows(&ranges(&three)).iter().all(|range| matches!(range.outcome, Window::One(_))));
    }
}
