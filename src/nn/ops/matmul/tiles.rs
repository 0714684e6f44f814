//! Blocks of products by matrix tiles (Intel AMX): 32 rows and columns in four accumulators.
//!
//! The instructions are written out because stable Rust has no functions for them. A tile holds 16 rows of 64 bytes;
//! `tdpbf16ps` adds to 16 x 16 floats the product of 16 x 32 bfloat16s with 32 x 16 in pairs of rows.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::pairs::{Block, PANEL, STEP};

/// Rows and columns of a block: two tiles each.
const SIDE: usize = PANEL;

/// Whether the processor has tiles, the kernel lets this process use them, and they multiply as they should.
/// `FTP_TILES=off` says no.
pub fn available() -> bool {
    state() == USED
}

const USED: &str = "matrix tiles (AMX)";

/// For people.
pub fn state() -> &'static str {
    static STATE: OnceLock<&str> = OnceLock::new();
    STATE.get_or_init(|| {
        if !supported() {
            "no matrix tiles (AMX)"
        } else if std::env::var_os("FTP_TILES").is_some_and(|value| value == "off") {
            "matrix tiles (AMX) switched off by FTP_TILES"
        } else if !permitted() {
            "matrix tiles (AMX), which the kernel does not let this process use"
        } else if !multiplies() {
            "matrix tiles (AMX) not used: they did not multiply as expected"
        } else {
            USED
        }
    })
}

/// AMX-BF16 and AMX-TILE (CPUID leaf 7, EDX bits 22 and 24).
fn supported() -> bool {
    const BITS: u32 = 1 << 22 | 1 << 24;
    #[allow(unused_unsafe)] // safe to call since Rust 1.9x: CPUID is part of x86-64
    let (highest, features) = unsafe { (__cpuid_count(0, 0).eax, __cpuid_count(7, 0).edx) };
    highest >= 7 && features & BITS == BITS
}

/// Linux keeps the tiles' state only for processes that asked for it (arch_prctl(2), ARCH_REQ_XCOMP_PERM).
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two integers and changes nothing but this process's permissions.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// A product whose result is known exactly, so that tiles which do not work as understood here are not used.
fn multiplies() -> bool {
    const DEPTH: usize = 2 * STEP;
    let small = |index: usize, factor: usize| (index * factor % 13) as f32 - 6.0; // exact as bfloat16s
    let bits = |value: f32| (value.to_bits() >> 16) as u16;
    let left: Vec<u16> = (0..SIDE * DEPTH).map(|at| bits(small(at, 5))).collect();
    let right: Vec<u16> = (0..DEPTH * PANEL).map(|at| bits(small(at, 7))).collect();
    let mut out = vec![1.0; SIDE * SIDE];
    multiply(Block {
        left: &left,
        right: &right,
        depth: DEPTH,
        out: &mut out,
        stride: SIDE,
        rows: SIDE,
        columns: SIDE,
        accumulate: true,
    });
    (0..SIDE * SIDE).all(|at| {
        let (row, column) = (at / SIDE, at % SIDE);
        let term = |inner: usize| {
            let right = (inner / 2 * PANEL + column) * 2 + inner % 2;
            small(row * DEPTH + inner, 5) * small(right, 7)
        };
        out[at] == 1.0 + (0..DEPTH).map(term).sum::<f32>() // whole numbers: exact in any order
    })
}

/// How the tiles are divided: palette 1, all eight of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_of_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Adds or writes a block. Only where tiles are supported and permitted; [`super::pairs`] asserts the sizes.
pub fn multiply(block: Block) {
    let mut sums = [0.0f32; SIDE * SIDE];
    let row_bytes = 2 * block.depth;
    // SAFETY: the tiles are configured and released here, on one thread. The loads read 32 rows of `depth` elements of
    // the left factor and `depth / 2` pairs of 32 columns of the right, which the caller has asserted to be there, and
    // the stores write the 32 x 32 floats of `sums`. Tile registers belong to nobody outside this block.
    unsafe {
        asm!(
            "ldtilecfg [{configuration}]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{upper} + {row_bytes}*1]",
            "tileloadd tmm6, [{right} + {side_bytes}*1]",
            "tileloadd tmm7, [{right} + {side_bytes}*1 + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {row_bytes}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {upper}, 64",
            "add {lower}, 64",
            "add {right}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {side_bytes}*1], tmm0",
            "tilestored [{sums} + {side_bytes}*1 + 64], tmm1",
            "tilestored [{sums} + {side_bytes}*1 + 2048], tmm2",
            "tilestored [{sums} + {side_bytes}*1 + 2112], tmm3",
            "tilerelease",
            configuration = in(reg) &raw const CONFIGURATION,
            upper = inout(reg) block.left.as_ptr() => _,
            lower = inout(reg) block.left.as_ptr().add(SIDE / 2 * block.depth) => _,
            row_bytes = in(reg) row_bytes,
            right = inout(reg) block.right.as_ptr() => _,
            side_bytes = in(reg) 4 * SIDE,
            steps = inout(reg) block.depth / STEP => _,
            sums = in(reg) sums.as_mut_ptr(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
    for (row, sums) in sums.chunks_exact(SIDE).take(block.rows).enumerate() {
        let out = &mut block.out[row * block.stride..][..block.columns];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = if block.accumulate { *out + sum } else { *sum };
        }
    }
}
