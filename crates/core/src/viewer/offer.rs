//! What a viewer offers (RFC 3264, RFC 8829).
