//! Reads the files that others publish into rows of the directory.
//!
//! Inputs: bytes of files and the present rows. Output: the new rows, or every problem of the files at once; there is
//! no in-between. Notices tell what was understood but looks wrong. It never reads a file itself.

pub mod hours_text;
