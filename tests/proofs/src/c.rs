//! The functions for C, called with any session in any state.

use socklab::*;

use crate::{Function, Kept};

/// The functions of a session of the math client.
pub static C_MATH_CLIENT: Kept<11> = Kept([
    socklab_math_client_init as Function,
    socklab_math_client_poll as Function,
    socklab_math_client_recv_space as Function,
    socklab_math_client_received as Function,
    socklab_math_client_transmit as Function,
    socklab_math_client_transmitted as Function,
    socklab_math_client_flushed as Function,
    socklab_math_client_ended as Function,
    socklab_math_client_write_ended as Function,
    socklab_math_client_time_out as Function,
    socklab_math_client_size as Function,
]);

/// The functions of a conversation.
pub static C_CHAT: Kept<12> = Kept([
    socklab_chat_init as Function,
    socklab_chat_poll as Function,
    socklab_chat_say as Function,
    socklab_chat_recv_space as Function,
    socklab_chat_received as Function,
    socklab_chat_transmit as Function,
    socklab_chat_transmitted as Function,
    socklab_chat_flushed as Function,
    socklab_chat_ended as Function,
    socklab_chat_write_ended as Function,
    socklab_chat_time_out as Function,
    socklab_chat_size as Function,
]);
