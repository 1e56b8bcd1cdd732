//! Scenarios of membership on virtual time.

mod change;
mod hearsay;
mod hostile;
mod lossy;
mod network;
mod partition;
mod swim;
mod watch;
