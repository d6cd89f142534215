//! Views of the rows in `lib.rs`, for users that need one field of all of them. Only this file and those that take
//! whole rows know the order of the fields.

/// Calls a macro with each machine: `image: Type,`. Tokens behind a comma come first.
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
            machines: [$($image:ident: $machine:ty),* $(,)?],
            $($rest:tt)*
        })*
    ) => {
        $($each)::+! { $($first)* $($($image: $machine,)*)* }
    };
}

/// Calls a macro with the dissectors that protocols have of their own: `Type,`. Tokens behind a comma come first.
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
            machines: $machines:tt,
            clients: $clients:tt,
            servers: $servers:tt,
            dissectors: [$($dissector:ty),* $(,)?],
            $($rest:tt)*
        })*
    ) => {
        $($each)::+! { $($first)* $($($dissector,)*)* }
    };
}

/// Calls a macro with the roles in fuzz inputs: `[client] NUMBER module role,` or `[server] NUMBER module role,`. Tokens
/// behind a comma come first.
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
            machines: $machines:tt,
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
