//! Number and block formats: what every one must keep, and golden values of the publishers' own programs.

mod blocks;
mod goldens;
