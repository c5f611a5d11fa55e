//! Lists such as `0-3,7`, in which config.json tells CPUs and nodes of memory.

/// The numbers of `list` as bits: n % 64 of word n / 64 for n.
///
/// # Errors
/// What is no such list, a number for which there is no bit, a range that ends before it begins.
pub fn parse<const WORDS: usize>(list: &str) -> Result<[u64; WORDS], String> {
    let mut bits = [0; WORDS];
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < 64 * WORDS);
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("{range}: write a list such as 0-3,7 of numbers below {}", 64 * WORDS));
        };
        if first > last {
            return Err(format!("{range}: the range ends before it begins"));
        }
        for number in first..=last {
            bits[number / 64] |= 1 << (number % 64);
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(list: &str, expected: Result<&[usize], &str>) {
        let numbers = parse::<128>(list);
        let numbers = numbers.map(|set| (0..8192).filter(|at| set[at / 64] >> (at % 64) & 1 == 1).collect());
        let expected: Result<Vec<_>, _> = expected.map(<[usize]>::to_vec);
        assert_eq!(numbers, expected.map_err(str::to_owned), "{list}");
    }

    #[test]
    fn lists() {
        check("0", Ok(&[0]));
        check("0-3,7", Ok(&[0, 1, 2, 3, 7]));
        check("63-64,8191", Ok(&[63, 64, 8191]));
        check("3-1", Err("3-1: the range ends before it begins"));
        check("0,8192", Err("8192: write a list such as 0-3,7 of numbers below 8192"));
        check("99999999999999999999", Err("99999999999999999999: write a list such as 0-3,7 of numbers below 8192"));
        check("", Err(": write a list such as 0-3,7 of numbers below 8192"));
    }
}
