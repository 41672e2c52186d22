//! The user-data document: parse and validate as a whole.
