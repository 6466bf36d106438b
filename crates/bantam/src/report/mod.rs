//! What a compression run leaves for people: one page.

mod page;

pub use page::page;
