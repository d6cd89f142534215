//! The same script gives the same transcript through every driver: a machine by hand, a session,
//! the pump, and the three drivers over transports that do everything a real one may.

mod asynch;
mod blocking;
mod everywhere;
mod failures;
mod nonblocking;
mod polled;
mod session;
mod ways;
