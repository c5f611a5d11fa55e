//! Conversion of cgroup v1's weights, which the specification keeps, to those of cgroup v2.

/// `cpu.weight` for `cpu.shares`, or `None` for 0, which leaves the default.
///
/// 1024 shares, v1's default, become 100, v2's default; the ends of both ranges meet. It is the formula of runc 1.3.2
/// and crun 1.24; the linear one before gave 39 for 1024.
pub(super) fn of_cpu(shares: u64) -> Option<u64> {
    /// From here on the result is the largest weight there is.
    const MOST_SHARES: u32 = 262_144;
    let shares = u32::try_from(shares).unwrap_or(MOST_SHARES);
    match shares {
        0 => None,
        1..=2 => Some(1),
        MOST_SHARES.. => Some(10_000),
        _ => {
            let log = f64::from(shares).log2();
            // One division of whole numbers (7/34 is 126/612), so that 1024 gives exactly 2 and not a little more.
            let exponent = (log * log + 125.0 * log - 126.0) / 612.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 10000, because shares are between 3 and 262143"
            )]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            Some(weight)
        }
    }
}

/// `io.weight` (1 to 10000) for a `blockIO.weight` (10 to 1000), linear as in runc and crun.
pub(super) fn of_io(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::{of_cpu, of_io};

    #[test]
    fn cpu() {
        let table = [
            (2, 1),
            (3, 2),
            (10, 4),
            (100, 17),
            (200, 29),
            (256, 35),
            (512, 59),
            (1000, 99),
            (1024, 100),
            (2048, 174),
            (3333, 256),
            (4096, 303),
            (10_000, 627),
            (100_000, 4340),
            (262_143, 10_000),
            (262_144, 10_000),
            (1, 1),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(of_cpu(shares), Some(weight), "{shares} shares");
        }
        assert_eq!(of_cpu(0), None);
    }

    #[test]
    fn cpu_never_falls() {
        let weights: Vec<_> = (2..=262_144).map(of_cpu).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn io() {
        for (given, weight) in [(10, 1), (500, 4950), (750, 7475), (1000, 10_000)] {
            assert_eq!(of_io(given), weight, "{given}");
        }
    }
}
