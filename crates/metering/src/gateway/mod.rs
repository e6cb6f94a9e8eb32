//! Where calls of official clients pass through.
