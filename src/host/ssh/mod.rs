//! SSH by russh: the only module that knows it.
