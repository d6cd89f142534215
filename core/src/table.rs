//! Macros that select one field of every row in `lib.rs`. Only this file and the users of whole rows depend on the
//! order of the fields.

/// Calls a macro with each machine over a stream: `image: Type,`. Tokens after a comma are passed first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_machine {
    ($($each:ident)::+ $(, $($first:tt)*)?) => {
        $crate::for_each_protocol! { $crate::__machines, $($each)::+ [$($($first)*)?] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __machines {
    (
        $($each:ident)::+ [$($first:tt)*]
        $($module:ident $name:ident {
            about: $about:tt,
            $(machines: [$($image:ident: $machine:ty),* $(,)?],)?
            $(datagrams: $datagrams:tt,)?
            clients: $clients:tt,
            $($rest:tt)*
        })*
    ) => {
        $($each)::+! { $($first)* $($($($image: $machine,)*)?)* }
    };
}

/// Calls a macro with each machine over datagrams: `image: Type,`. Tokens after a comma are passed first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_datagram_machine {
    ($($each:ident)::+ $(, $($first:tt)*)?) => {
        $crate::for_each_protocol! { $crate::__datagrams, $($each)::+ [$($($first)*)?] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __datagrams {
    (
        $($each:ident)::+ [$($first:tt)*]
        $($module:ident $name:ident {
            about: $about:tt,
            $(machines: $machines:tt,)?
            $(datagrams: [$($image:ident: $machine:ty),* $(,)?],)?
            clients: $clients:tt,
            $($rest:tt)*
        })*
    ) => {
        $($each)::+! { $($first)* $($($($image: $machine,)*)?)* }
    };
}

/// Calls a macro with each dissector of a protocol: `Type,`. Tokens after a comma are passed first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_dissector {
    ($($each:ident)::+ $(, $($first:tt)*)?) => {
        $crate::for_each_protocol! { $crate::__dissectors, $($each)::+ [$($($first)*)?] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __dissectors {
    (
        $($each:ident)::+ [$($first:tt)*]
        $($module:ident $name:ident {
            about: $about:tt,
            $transport:ident: $machines:tt,
            clients: $clients:tt,
            servers: $servers:tt,
            dissectors: [$($dissector:ty),* $(,)?],
            $($rest:tt)*
        })*
    ) => {
        $($each)::+! { $($first)* $($($dissector,)*)* }
    };
}

/// Calls a macro with each role of the fuzz inputs: `[client] NUMBER module role,` or `[server] NUMBER module role,`.
/// Tokens after a comma are passed first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_role {
    ($($each:ident)::+ $(, $($first:tt)*)?) => {
        $crate::for_each_protocol! { $crate::__roles, $($each)::+ [$($($first)*)?] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __roles {
    (
        $($each:ident)::+ [$($first:tt)*]
        $($module:ident $name:ident {
            about: $about:tt,
            $transport:ident: $machines:tt,
            clients: [$($client:ident $client_number:literal),* $(,)?],
            servers: [$($server:ident $server_number:literal),* $(,)?],
            $($rest:tt)*
        })*
    ) => {
        $($each)::+! {
            $($first)*
            $(
                $([client] $client_number $module $client,)*
                $([server] $server_number $module $server,)*
            )*
        }
    };
}
