//! Label keys and values, each stored once however many nodes carry it.

use std::collections::HashMap;
use std::sync::Arc;

/// A stored string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// Counted strings: one that no node uses any more is forgotten, so that a fleet whose nodes come and go does not grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symbols {
    by_text: HashMap<Arc<str>, Symbol>,
    texts: Vec<(Arc<str>, u32)>,
    free: Vec<u32>,
}

impl Symbols {
    /// The symbol of a text, used once more.
    pub(crate) fn acquire(&mut self, text: &str) -> Symbol {
        if let Some(&symbol) = self.by_text.get(text) {
            if let Some((_, uses)) = self.texts.get_mut(symbol.0 as usize) {
                *uses = uses.saturating_add(1);
            }
            return symbol;
        }
        let text: Arc<str> = text.into();
        let symbol = match self.free.pop() {
            Some(at) => Symbol(at),
            None => {
                self.texts.push((text.clone(), 0));
                Symbol(u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX))
            }
        };
        if let Some(place) = self.texts.get_mut(symbol.0 as usize) {
            *place = (text.clone(), 1);
        }
        self.by_text.insert(text, symbol);
        symbol
    }

    /// Gives one use back.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        if let Some((text, uses)) = self.texts.get_mut(symbol.0 as usize) {
            *uses = uses.saturating_sub(1);
            if *uses == 0 {
                self.by_text.remove(text);
                self.free.push(symbol.0);
            }
        }
    }

    /// The symbol of a text that some node carries.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.by_text.get(text).copied()
    }

    /// The text of a symbol.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.texts
            .get(symbol.0 as usize)
            .map_or("", |(text, _)| text)
    }
}
