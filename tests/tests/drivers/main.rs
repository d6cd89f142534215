//! The same script gives the same transcript through every driver: a machine by hand, a session,
//! the pump, and the drivers over transports that do everything a real one may.

mod asynch;
mod blocking;
mod clock;
mod contracts;
mod every_driver;
mod everywhere;
mod failures;
mod laws;
mod nonblocking;
mod polled;
mod pool;
mod restart;
mod session;
mod shapes;
mod statics;
mod ways;
