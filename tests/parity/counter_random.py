"""The counter-based random numbers of `src/random.rs` in numpy, and dropout drawn from them.

Philox4x32-10 (Salmon et al. 2011). A `Key` is (key: two u32, stream: u64). Written after the description in the Rust
file, so that `transformers` can be run with the masks `ftp` draws.

Convention for dropout (`src/nn/ops/dropout.rs`): the elements of the row-major packed tensor are numbered from 0, and
element `n` falls when its 16 bits are below round(65536 p). They come from the draws of `key.at(site)`, where `site` is
the first eight bytes (little endian) of the BLAKE3 digest of the site's name. A block of 128 elements uses sixteen
counters of four 32-bit words: the first 64 elements take the lower halves, word by word and there counter by counter,
the next 64 the upper halves. Attention probabilities are numbered by `attention_index`.
"""

import numpy
from blake3 import blake3

BLOCK = 128
U32 = numpy.uint64(0xFFFFFFFF)


def philox(key, counter):
    """Ten rounds on arrays of u32 held in u64. counter: four arrays."""
    k0, k1 = (numpy.uint64(word) for word in key)
    c0, c1, c2, c3 = (numpy.asarray(word, dtype=numpy.uint64) for word in counter)
    for round in range(10):
        if round > 0:
            k0, k1 = (k0 + numpy.uint64(0x9E3779B9)) & U32, (k1 + numpy.uint64(0xBB67AE85)) & U32
        low, high = c0 * numpy.uint64(0xD2511F53), c2 * numpy.uint64(0xCD9E8D57)
        shift = numpy.uint64(32)
        c0, c1, c2, c3 = (high >> shift) ^ c1 ^ k0, high & U32, (low >> shift) ^ c3 ^ k1, low & U32
    return c0, c1, c2, c3


assert [int(word) for word in philox((0, 0), (0, 0, 0, 0))] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


class Key:
    def __init__(self, key, stream):
        self.key, self.stream = key, stream

    @staticmethod
    def new(seed, purpose):
        digest = blake3(purpose.encode()).digest()
        word = lambda at: int.from_bytes(digest[at : at + 4], "little")
        return Key(((seed & 0xFFFFFFFF) ^ word(0), (seed >> 32) ^ word(4)), 0)

    def at(self, index):
        counter = (self.stream & 0xFFFFFFFF, self.stream >> 32, index & 0xFFFFFFFF, index >> 32)
        mixed = [int(word) for word in philox(self.key, counter)]
        return Key((mixed[0], mixed[1]), mixed[2] | mixed[3] << 32)

    def bits(self, counter):
        """counter: array of integers -> `[4, *counter.shape]` 32-bit draws."""
        counter = numpy.asarray(counter, dtype=numpy.uint64)
        stream = (numpy.uint64(self.stream & 0xFFFFFFFF), numpy.uint64(self.stream >> 32))
        return numpy.stack(philox(self.key, (counter & U32, counter >> numpy.uint64(32), *stream)))

    def half_words(self, element):
        """The 16 bits of numbered elements. element: array of integers -> array of the same shape."""
        block, within = element // BLOCK, element % BLOCK
        upper, place = within // 64, within % 64
        draws = self.bits(block * 16 + place % 16)
        draw = numpy.take_along_axis(draws, (place // 16)[None], axis=0)[0].astype(numpy.int64)
        return numpy.where(upper == 1, draw >> 16, draw & 0xFFFF)


def site_index(site):
    return int.from_bytes(blake3(site.encode()).digest()[:8], "little")


def dropout_mask(key, site, index, p):
    """index: array of integers -> array of 0 and 1 / (1 - p)."""
    falls = key.at(site_index(site)).half_words(index) < round(p * 65536)
    return numpy.where(falls, 0.0, 1.0 / (1.0 - p))


def token_index(offsets, length, width):
    """Index in the packed `[T, width]` of every element of a padded `[B, length, width]`; padding gets index 0."""
    batch = len(offsets) - 1
    index = numpy.zeros((batch, length, width), dtype=numpy.int64)
    for b in range(batch):
        tokens = numpy.arange(offsets[b], offsets[b + 1])
        index[b, : len(tokens)] = tokens[:, None] * width + numpy.arange(width)
    return index


def attention_index(offsets, length, heads):
    """Index of every probability of a padded `[B, heads, length, length]`; padding gets index 0.

    Sequences lie one after the other, in each its heads, in each `[n, n]` for `n` tokens; a head starts a new block.
    """
    batch = len(offsets) - 1
    index = numpy.zeros((batch, heads, length, length), dtype=numpy.int64)
    base = 0
    for b in range(batch):
        n = offsets[b + 1] - offsets[b]
        size = -(-n * n // BLOCK) * BLOCK
        starts = base + numpy.arange(heads) * size
        index[b, :, :n, :n] = starts[:, None, None] + numpy.arange(n * n).reshape(n, n)
        base += heads * size
    return index
