//! How often values of a size were seen, in memory that does not grow.

use crate::distribution::Distribution;

/// Steps into which each power of two is cut: values are exact to 1/64, about 1.6 %.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values of 2^40 and more count as the largest: in nanoseconds that is a quarter of an hour.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = ((MAX_BITS - STEP_BITS + 1) as usize) * STEPS as usize;

/// Counts values in steps that grow with the value.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u32]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts a value.
    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The percentiles, each multiplied by `unit`; `None` of no values. A percentile is the middle of its step.
    pub(crate) fn distribution(&self, unit: f64) -> Option<Distribution> {
        if self.count == 0 {
            return None;
        }
        let rank = |percent: u64| {
            let wanted = (self.count * percent).div_ceil(100).max(1);
            let mut passed = 0;
            let found = self.counts.iter().position(|count| {
                passed += u64::from(*count);
                passed >= wanted
            });
            let value = found.map_or(self.max, middle).min(self.max);
            value as f64 * unit
        };
        Some(Distribution {
            count: usize::try_from(self.count).unwrap_or(usize::MAX),
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
            max: self.max as f64 * unit,
        })
    }
}

/// Values below [`STEPS`] have a bucket each; above, each power of two has [`STEPS`] of them.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << MAX_BITS) - 1);
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    // The leading bit of what is left is the same in all: it counts the powers of two.
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let first = (bucket - shift * STEPS) << shift;
    first + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_near_their_values() {
        let mut last = 0;
        for exponent in 3..MAX_BITS {
            for step in 0..8 {
                let value = (1u64 << exponent) + (step << (exponent - 3));
                let index = bucket(value);
                assert!(index >= last && index < BUCKETS, "{value}");
                last = index;
                let error = middle(index).abs_diff(value) as f64 / value as f64;
                assert!(error <= 1.0 / 64.0, "{value}: {}", middle(index));
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles() {
        let mut histogram = Histogram::default();
        assert!(histogram.distribution(1.0).is_none());
        for value in 1..=1000 {
            histogram.record(value * 1000);
        }
        let found = histogram.distribution(0.001).unwrap();
        assert_eq!((found.count, found.max), (1000, 1000.0));
        for (percentile, expected) in [(found.p50, 500.0), (found.p95, 950.0), (found.p99, 990.0)] {
            assert!(
                (percentile - expected).abs() < expected / 64.0,
                "{percentile}"
            );
        }
    }
}
