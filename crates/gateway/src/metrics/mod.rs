//! Figures for Prometheus: what is counted, and the text that a scrape reads.
//!
//! Nothing here is told anything per packet. A scrape reads what the parts of the program count anyway: workers keep
//! totals of their own (`apiary_media::counts`), the rest is atomics ([`counters`]). No figure has a label for a camera,
//! a stream, a viewer or an address: every label's values are known beforehand, so that a long run has no more series
//! than a short one. Totals only grow, whatever ends.

mod collect;
pub mod counters;
mod listener;
mod process;
pub mod text;

pub use collect::{Metrics, Sources};
pub use listener::MetricsListener;
