//! SIP signalling core.
