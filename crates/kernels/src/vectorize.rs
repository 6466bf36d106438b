//! Compiling one scalar function for several instruction sets.

/// Defines a function whose body is compiled for the baseline CPU, for AVX2 and for AVX-512, and which runs the form of
/// [`crate::Isa::best`]. All forms give the same bits: the compiler never reorders or fuses floating-point operations.
/// Helpers that the body calls must be `#[inline(always)]` to be compiled along.
///
/// The nested functions see the generic parameter `<T: Bound>` but nothing else from outside.
macro_rules! vectorized {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident $(<$generic:ident : $bound:path>)? (
        $($argument:ident : $type:ty),* $(,)?
    ) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "kernels take their sizes one by one")]
        $vis fn $name $(<$generic: $bound>)? ($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "kernels take their sizes one by one")]
            fn body $(<$generic: $bound>)? ($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
                #[allow(clippy::too_many_arguments, reason = "kernels take their sizes one by one")]
                fn avx512 $(<$generic: $bound>)? ($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments, reason = "kernels take their sizes one by one")]
                fn avx2 $(<$generic: $bound>)? ($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                match $crate::Isa::best() {
                    // SAFETY: the CPU has the features that the function is compiled for.
                    $crate::Isa::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::Isa::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::Isa::Scalar => {}
                }
            }
            body($($argument),*)
        }
    )*};
}

pub(crate) use vectorized;
