//! The word that somebody most likely meant.

/// The one of `words` that `word` was most likely meant to be, when one is near.
pub(crate) fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let near = |w: &&&str| strsim::normalized_damerau_levenshtein(word, w);
    let best = words.iter().max_by(|a, b| near(a).total_cmp(&near(b)))?;
    (near(&best) >= 0.6).then_some(*best)
}
