//! What many measurements of the same thing say.

use serde::Serialize;

/// Percentiles by the nearest-rank method, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Distribution {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Distribution {
    /// `None` of no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let max = *values.last()?;
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values[rank - 1]
        };
        Some(Self {
            count: values.len(),
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let values = (1..=100).rev().map(f64::from).collect();
        let distribution = Distribution::of(values).unwrap();
        assert_eq!(distribution.p50, 50.0);
        assert_eq!(distribution.p95, 95.0);
        assert_eq!(distribution.p99, 99.0);
        assert_eq!(distribution.max, 100.0);
        assert_eq!(Distribution::of(vec![7.0]).unwrap().p99, 7.0);
        assert_eq!(Distribution::of(Vec::new()), None);
    }
}
