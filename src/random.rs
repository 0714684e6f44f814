//! Random numbers as counters: a draw is a pure function of a [`Key`] and an index, so results depend on neither the
//! number of threads nor on what was drawn before. Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy
//! as 1, 2, 3", SC11).

/// A stream of draws, named by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    key: [u32; 2],
    stream: u64,
}

impl Key {
    /// The stream of one `purpose` ("shuffle", "dropout", "mask", "init") under a user's seed.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let digest = blake3::hash(purpose.as_bytes());
        let word = |at: usize| u32::from_le_bytes(digest.as_bytes()[at..at + 4].try_into().expect("four bytes"));
        Self { key: [seed as u32 ^ word(0), (seed >> 32) as u32 ^ word(4)], stream: 0 }
    }

    /// A sub-stream: one for each step, layer, epoch ... Chains: `key.at(step).at(site)`.
    pub fn at(self, index: u64) -> Self {
        let mixed =
            philox(self.key, [self.stream as u32, (self.stream >> 32) as u32, index as u32, (index >> 32) as u32]);
        Self { key: [mixed[0], mixed[1]], stream: u64::from(mixed[2]) | u64::from(mixed[3]) << 32 }
    }

    /// Four independent 32-bit draws for a counter.
    #[inline(always)]
    pub fn bits(self, counter: u64) -> [u32; 4] {
        philox(self.key, [counter as u32, (counter >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32])
    }

    /// 32-bit draws in one [`Key::block`].
    pub const BLOCK: usize = 4 * LANES;

    /// The draws of [`Key::bits`] for the counters `16 block .. 16 block + 16`, as `[word][counter]`: the form in which
    /// many draws are cheap. Made to be inlined into code compiled for wide registers, hence the plain loops: closures
    /// would not be compiled for those.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    pub fn block(self, block: u64) -> [[u32; LANES]; 4] {
        // The words stay in 64-bit lanes, of which only the lower halves count: no shuffling between the rounds.
        let first = block * LANES as u64;
        let mut a = [first; LANES];
        for lane in 0..LANES {
            a[lane] += lane as u64;
        }
        let (mut b, mut c, mut d) = ([first >> 32; LANES], [self.stream; LANES], [self.stream >> 32; LANES]);
        for round in 0..10 {
            let [odd, even] = round_key(self.key, round);
            for lane in 0..LANES {
                let low = (a[lane] & 0xFFFF_FFFF) * 0xD251_1F53;
                let high = (c[lane] & 0xFFFF_FFFF) * 0xCD9E_8D57;
                a[lane] = (high >> 32) ^ b[lane] ^ u64::from(odd);
                c[lane] = (low >> 32) ^ d[lane] ^ u64::from(even);
                (b[lane], d[lane]) = (high, low);
            }
        }
        let mut draws = [[0; LANES]; 4];
        for lane in 0..LANES {
            draws[0][lane] = a[lane] as u32;
            draws[1][lane] = b[lane] as u32;
            draws[2][lane] = c[lane] as u32;
            draws[3][lane] = d[lane] as u32;
        }
        draws
    }

    /// The `index`-th uniform draw in [0, 1), 24 bits.
    pub fn uniform(self, index: u64) -> f32 {
        (self.bits(index / 4)[(index % 4) as usize] >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// The `index`-th integer in [0, bound), unbiased to within 2^-32.
    pub fn below(self, index: u64, bound: u32) -> u32 {
        ((u64::from(self.bits(index / 4)[(index % 4) as usize]) * u64::from(bound)) >> 32) as u32
    }

    /// The `index`-th standard normal draw (Box-Muller).
    pub fn normal(self, index: u64) -> f32 {
        let [a, b, ..] = self.bits(index);
        let radius = (-2.0 * ((f64::from(a) + 1.0) / 4_294_967_296.0).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(b) / 4_294_967_296.0).cos()) as f32
    }

    /// A random order of `0..count` (Fisher-Yates).
    pub fn permutation(self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last as u64, last as u32 + 1) as usize);
        }
        order
    }
}

/// Counters in one [`Key::block`]: what the widest registers hold.
const LANES: usize = 16;

#[inline(always)]
fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    (0..10).fold(counter, |counter, round| philox_round(round_key(key, round), counter))
}

#[inline(always)]
fn round_key(key: [u32; 2], round: u32) -> [u32; 2] {
    [key[0].wrapping_add(0x9E37_79B9u32.wrapping_mul(round)), key[1].wrapping_add(0xBB67_AE85u32.wrapping_mul(round))]
}

#[inline(always)]
fn philox_round(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let low = u64::from(counter[0]) * 0xD251_1F53;
    let high = u64::from(counter[2]) * 0xCD9E_8D57;
    [(high >> 32) as u32 ^ counter[1] ^ key[0], high as u32, (low >> 32) as u32 ^ counter[3] ^ key[1], low as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds).
    #[test]
    fn philox_gives_the_published_known_answers() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 2], [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_block_holds_the_draws_of_its_sixteen_counters() {
        let key = Key::new(3, "dropout").at(5);
        for block in [0, 1, (1 << 28) - 1, 1 << 28, 1 << 40] {
            let words = key.block(block);
            for counter in 0..16 {
                assert_eq!(key.bits(block * 16 + counter), words.map(|word| word[counter as usize]));
            }
        }
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Key::new(7, "shuffle").at(3).permutation(1000);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }

    #[test]
    fn purposes_and_indices_give_unrelated_streams() {
        let key = Key::new(1, "dropout");
        assert_ne!(key.bits(0), Key::new(1, "mask").bits(0));
        assert_ne!(key.at(0).bits(0), key.at(1).bits(0));
        assert_ne!(key.at(0).bits(0), key.bits(0));
    }
}
