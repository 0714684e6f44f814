"""The counter-based random numbers of `src/random.rs` in numpy, and dropout drawn from them.

Philox4x32-10 (Salmon et al. 2011). A `Key` is (key: two u32, stream: u64). Written after the description in the Rust
file, so that `transformers` can be run with the masks `ftp` draws.

Convention for dropout: the element at `index` of the row-major packed tensor falls when
`key.at(site).uniform(index) < p`, where `site` is the first eight bytes (little endian) of the BLAKE3 digest of the
site's name. For the attention probabilities of head `h` between query `i` and key `j` of sequence `b`, `index` is given
by `attention_index`.
"""

import numpy
from blake3 import blake3

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

    def uniform(self, index):
        """index: array of integers -> array of the same shape in [0, 1), 24 bits."""
        index = numpy.asarray(index, dtype=numpy.uint64)
        counter = index // numpy.uint64(4)
        shift = numpy.uint64(32)
        stream = (numpy.uint64(self.stream & 0xFFFFFFFF), numpy.uint64(self.stream >> 32))
        draws = numpy.stack(philox(self.key, (counter & U32, counter >> shift, *stream)))
        chosen = numpy.take_along_axis(draws, (index % numpy.uint64(4)).astype(numpy.int64)[None], axis=0)[0]
        return (chosen >> numpy.uint64(8)).astype(numpy.float64) / (1 << 24)


def site_index(site):
    return int.from_bytes(blake3(site.encode()).digest()[:8], "little")


def dropout_mask(key, site, index, p):
    """index: array of integers -> array of 0 and 1 / (1 - p)."""
    falls = key.at(site_index(site)).uniform(index) < numpy.float32(p)
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

    Sequences lie one after the other; inside sequence `b` of `n` tokens: `[heads, n, n]`.
    """
    batch = len(offsets) - 1
    index = numpy.zeros((batch, heads, length, length), dtype=numpy.int64)
    base = 0
    for b in range(batch):
        n = offsets[b + 1] - offsets[b]
        index[b, :, :n, :n] = base + numpy.arange(heads * n * n).reshape(heads, n, n)
        base += heads * n * n
    return index
