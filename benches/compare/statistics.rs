//! Medians and quartiles.

use crate::results::Measure;

/// The median and the quartiles around it. An even number of values has the mean of the two in the middle.
pub fn summary(mut values: Vec<f64>) -> (f64, (f64, f64)) {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| {
        let position = (values.len() - 1) * quarter;
        let (below, rest) = (position / 4, position % 4);
        let above = if rest == 0 { below } else { below + 1 };
        let weight = [0.0, 0.25, 0.5, 0.75][rest];
        values[below] + (values[above] - values[below]) * weight
    };
    (at(2), (at(1), at(3)))
}

/// Values of one kind as a measure.
pub fn measure(what: &str, config: &str, quantity: &str, runtime: &str, values: Vec<f64>) -> Measure {
    let (value, quartiles) = summary(values);
    // A thousandth is more than anybody can measure here.
    let rounded = |value: f64| (value * 1e3).round() / 1e3;
    let (value, quartiles) = (rounded(value), (rounded(quartiles.0), rounded(quartiles.1)));
    let [what, config, quantity, runtime] = [what, config, quantity, runtime].map(str::to_owned);
    Measure { what, config, quantity, runtime, value, quartiles }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        assert_eq!(summary(vec![3.0]), (3.0, (3.0, 3.0)));
        assert_eq!(summary(vec![4.0, 1.0]), (2.5, (1.75, 3.25)));
        assert_eq!(summary(vec![5.0, 1.0, 3.0, 2.0, 4.0]), (3.0, (2.0, 4.0)));
    }
}
