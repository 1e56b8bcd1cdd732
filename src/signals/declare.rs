//! [`signals!`](crate::signals!): from a declaration to a struct with a method for each thing that can be done.

/// Declares the signals of an application: a struct with typed methods, to be had from
/// [`Cluster::signals`](crate::Cluster::signals).
///
/// Each signal is a kind, a name and a weight:
///
/// | Declared | Methods | Counts |
/// |---|---|---|
/// | `count requests: 0.5` | `increment_requests()`, `decrement_requests()` (not below 0), `hold_requests()` | value × weight |
/// | `percent ram: 1.0` | `percent_ram(61.0)?` | weight × e^(0.05 × value) |
/// | `amount queue: 0.1` | `set_amount_queue(3.0)?` | value × weight |
/// | `pre_processed heat` | `pre_processed_heat(2.5)?` | the value |
///
/// ```
/// unisono::signals! {
///     /// What makes a node of this application busy.
///     pub struct Load {
///         /// Requests under way.
///         count http_requests: 0.5,
///         percent ram: 1.0,
///         amount queue: 0.1,
///         pre_processed heat,
///     }
/// }
///
/// async fn handle(load: &Load) {
///     // Counts until it is dropped, also if this future is cancelled.
///     let _request = load.hold_http_requests();
/// }
///
/// fn measure(load: &Load) -> Result<(), unisono::SampleError> {
///     load.increment_http_requests();
///     load.percent_ram(61.0)?;
///     load.set_amount_queue(3.0)?;
///     load.pre_processed_heat(2.5)?;
///     load.decrement_http_requests();
///     Ok(())
/// }
/// ```
///
/// The struct is cheap to clone, can be used from any thread, and costs an atomic operation per call. Samples that are not
/// a number, infinite, negative or no percentage are refused with a [`SampleError`](crate::SampleError), and the one before
/// stays. Before its first sample a signal counts nothing.
///
/// Weights are constants. One that is negative, infinite or not a number does not compile, nor does a signal named as one
/// that is built in (`cpu`, `memory`, `roles`):
///
/// ```compile_fail
/// unisono::signals! { struct Load { amount queue: -1.0 } }
/// ```
///
/// ```compile_fail
/// unisono::signals! { struct Load { percent cpu: 1.0 } }
/// ```
#[macro_export]
macro_rules! signals {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$about:meta])* $kind:ident $signal:ident $(: $weight:expr)?),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $visibility struct $name {
            $($(#[$about])* $signal: ::std::sync::Arc<$crate::signals::Gauge>,)+
        }

        impl $crate::signals::Signals for $name {
            const SPECS: &'static [$crate::signals::Spec] = &[$($crate::__signal!(@spec $kind $signal $($weight)?)),+];

            fn attach(mut next: impl ::core::ops::FnMut() -> ::std::sync::Arc<$crate::signals::Gauge>) -> Self {
                Self { $($signal: next(),)+ }
            }
        }

        // What is declared wrongly does not compile, whether it is used or not.
        const _: &[$crate::signals::Spec] = <$name as $crate::signals::Signals>::SPECS;

        impl $name {
            $($crate::__signal!(@methods $visibility $kind $signal [$(#[$about])*]);)+
        }
    };
}

/// One signal of [`signals!`](crate::signals!).
#[doc(hidden)]
#[macro_export]
macro_rules! __signal {
    (@spec count $signal:ident $weight:expr) => { $crate::__signal!(@new Count $signal $weight) };
    (@spec percent $signal:ident $weight:expr) => { $crate::__signal!(@new Percent $signal $weight) };
    (@spec amount $signal:ident $weight:expr) => { $crate::__signal!(@new Amount $signal $weight) };
    (@spec pre_processed $signal:ident) => { $crate::__signal!(@new PreProcessed $signal 1.0) };
    (@spec $kind:ident $signal:ident $($weight:expr)?) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($kind), " ", ::core::stringify!($signal), "`: a signal is `count name: weight`, \
             `percent name: weight`, `amount name: weight` or `pre_processed name`"
        ))
    };
    (@new $kind:ident $signal:ident $weight:expr) => {
        $crate::signals::Spec::new(::core::stringify!($signal), $crate::signals::SignalKind::$kind, $weight)
    };
    (@methods $visibility:vis count $signal:ident [$($about:tt)*]) => {
        $crate::__paste! {
            #[doc = ::core::concat!("One more of `", ::core::stringify!($signal), "`.\n")]
            $($about)*
            #[allow(dead_code)]
            $visibility fn [<increment_ $signal>](&self) {
                self.$signal.increment();
            }

            #[doc = ::core::concat!("One less of `", ::core::stringify!($signal), "`, but never less than none.\n")]
            $($about)*
            #[allow(dead_code)]
            $visibility fn [<decrement_ $signal>](&self) {
                self.$signal.decrement();
            }

            #[doc = ::core::concat!("One more of `", ::core::stringify!($signal), "` until what is returned is dropped.\n")]
            $($about)*
            #[allow(dead_code)]
            $visibility fn [<hold_ $signal>](&self) -> $crate::signals::Held {
                self.$signal.hold()
            }
        }
    };
    (@methods $visibility:vis percent $signal:ident [$($about:tt)*]) => {
        $crate::__signal!(@set $visibility percent_ $signal [$($about)*]
            "How many percent of `" "` are used up, from 0 to 100.\n");
    };
    (@methods $visibility:vis amount $signal:ident [$($about:tt)*]) => {
        $crate::__signal!(@set $visibility set_amount_ $signal [$($about)*] "How much `" "` there is, 0 or more.\n");
    };
    (@methods $visibility:vis pre_processed $signal:ident [$($about:tt)*]) => {
        $crate::__signal!(@set $visibility pre_processed_ $signal [$($about)*]
            "What `" "` adds to the score of this node, 0 or more.\n");
    };
    // An error was given for the spec.
    (@methods $($other:tt)*) => {};
    (@set $visibility:vis $prefix:ident $signal:ident [$($about:tt)*] $before:literal $after:literal) => {
        $crate::__paste! {
            #[doc = ::core::concat!($before, ::core::stringify!($signal), $after)]
            $($about)*
            #[doc = "\n# Errors\n\nIf it is out of bounds; the sample before still counts."]
            #[allow(dead_code)]
            $visibility fn [<$prefix $signal>](&self, value: f64) -> ::core::result::Result<(), $crate::SampleError> {
                self.$signal.set(value)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::signals::{Board, SignalKind, Signals};

    crate::signals! {
        /// What makes a test busy.
        struct Load {
            /// Requests under way.
            count http_requests: 0.5,
            percent ram: 1.0 + 1.0,
            amount queue: 0.1,
            pre_processed heat,
        }
    }

    #[test]
    fn each_method_moves_its_own_signal() {
        let board = Board::default();
        let load: Load = board.signals().unwrap();
        load.increment_http_requests();
        load.increment_http_requests();
        load.decrement_http_requests();
        let held = load.hold_http_requests();
        load.percent_ram(61.0).unwrap();
        load.set_amount_queue(3.0).unwrap();
        load.pre_processed_heat(2.5).unwrap();
        assert!(load.percent_ram(101.0).is_err() && load.set_amount_queue(-1.0).is_err());
        let shown: Vec<_> =
            board.parts().iter().map(|part| (part.name.to_string(), part.kind, part.weight, part.value)).collect();
        let expected = [
            ("heat", SignalKind::PreProcessed, 1.0, 2.5),
            ("http_requests", SignalKind::Count, 0.5, 2.0),
            ("queue", SignalKind::Amount, 0.1, 3.0),
            ("ram", SignalKind::Percent, 2.0, 61.0),
        ];
        assert_eq!(shown, expected.map(|(name, kind, weight, value)| (name.to_owned(), kind, weight, value)));
        drop(held);
        assert_eq!(board.parts()[1].value, 1.0);
        assert_eq!(Load::SPECS.len(), 4);
    }
}
