//! RTP media core.
