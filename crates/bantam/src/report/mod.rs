//! Reports for people.

pub mod page;
