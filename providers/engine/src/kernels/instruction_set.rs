//! Which instructions the kernels use: the best this processor has, or less when the environment asks for it.

use std::sync::OnceLock;

/// Names a lesser set than the processor's best, for tests and comparisons.
pub(crate) const VARIABLE: &str = "PERILUNE_INSTRUCTION_SET";

/// A set of instructions, the lesser first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InstructionSet {
    /// Whatever the compiler takes for granted.
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX2 with byte products in 256-bit registers.
    AvxVnni,
    /// AVX-512 with byte products.
    Avx512Vnni,
    /// AVX-512 with byte products, and tiles of bytes for many rows.
    Amx,
}

impl InstructionSet {
    pub(crate) const ALL: [InstructionSet; 5] = [
        InstructionSet::Portable,
        InstructionSet::Avx2,
        InstructionSet::AvxVnni,
        InstructionSet::Avx512Vnni,
        InstructionSet::Amx,
    ];

    /// What the kernels use in this process.
    pub(crate) fn current() -> InstructionSet {
        static CURRENT: OnceLock<InstructionSet> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let best = InstructionSet::best();
            let Ok(asked) = std::env::var(VARIABLE) else { return best };
            match InstructionSet::ALL.into_iter().find(|set| set.name() == asked) {
                Some(set) if set.is_available() => set,
                Some(_) => {
                    tracing::warn!(
                        "{VARIABLE} asks for `{asked}`, which this processor lacks; using `{}`",
                        best.name()
                    );
                    best
                }
                None => {
                    let known = InstructionSet::ALL.map(InstructionSet::name).join(", ");
                    tracing::warn!("{VARIABLE} is `{asked}`, expected one of {known}; using `{}`", best.name());
                    best
                }
            }
        })
    }

    /// The best this processor has.
    pub(crate) fn best() -> InstructionSet {
        InstructionSet::ALL.into_iter().rev().find(|set| set.is_available()).unwrap_or(InstructionSet::Portable)
    }

    /// Whether this processor has it.
    pub(crate) fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            match self {
                InstructionSet::Portable => true,
                InstructionSet::Avx2 => avx2,
                InstructionSet::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
                InstructionSet::Amx => InstructionSet::Avx512Vnni.is_available() && super::amx::is_available(),
                InstructionSet::Avx512Vnni => {
                    avx2 && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vnni")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == InstructionSet::Portable
        }
    }

    /// As the environment and `model info` spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            InstructionSet::Portable => "portable",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::AvxVnni => "avx-vnni",
            InstructionSet::Avx512Vnni => "avx512-vnni",
            InstructionSet::Amx => "amx",
        }
    }
}

/// Defines a function that is compiled for AVX2 and AVX-512 too, so that its loops use their registers. Its arithmetic is
/// ordinary Rust, so the result is the same on each.
macro_rules! vectorized {
    ($(#[$about:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$about])*
        $visibility fn $name($($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn portable($($argument: $kind),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::InstructionSet;

                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($argument: $kind),*) $(-> $result)? {
                    portable($($argument),*)
                }

                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
                fn avx512($($argument: $kind),*) $(-> $result)? {
                    portable($($argument),*)
                }

                match InstructionSet::current() {
                    InstructionSet::Portable => {}
                    // SAFETY: the processor has what the set names.
                    InstructionSet::Avx2 | InstructionSet::AvxVnni => return unsafe { avx2($($argument),*) },
                    // SAFETY: as above.
                    InstructionSet::Avx512Vnni | InstructionSet::Amx => return unsafe { avx512($($argument),*) },
                }
            }
            portable($($argument),*)
        }
    };
}
pub(crate) use vectorized;
