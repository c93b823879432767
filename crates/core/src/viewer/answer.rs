//! The answer to a viewer's offer (RFC 3264, RFC 8829).
