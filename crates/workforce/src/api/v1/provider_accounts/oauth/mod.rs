pub(super) mod start;
