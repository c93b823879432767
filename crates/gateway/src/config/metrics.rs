//! The section `[metrics]`: where Prometheus may read figures without an account.

use std::net::SocketAddr;

use super::reader::Reader;
use super::values;

/// `[metrics]`
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    /// A listener of its own for `/metrics`; port 0 takes any free port. Without one, figures are on `http.listen` only.
    pub listen: Option<SocketAddr>,
}

pub(super) fn load(reader: &mut Reader) -> MetricsConfig {
    MetricsConfig {
        listen: reader.read("metrics.listen", values::socket_address),
    }
}
