//! What is inside a bundle, how large, from where, under which licence, how verified: as data, text and a page. Pure.

mod contents;
mod html;
mod text;

pub(crate) use contents::human;
pub use contents::{Contents, Entry, Group, INSPECT_FORMAT, Totals, contents};
pub use html::html;
pub use text::text;
