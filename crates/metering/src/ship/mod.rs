//! From the spool to the database.
