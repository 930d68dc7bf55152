"""
The weighted k-nearest-neighbour classifier: an exact search over a bank of any size in constant memory.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import torch
from numba import njit
from torch import Tensor

from .. import distributed

BLOCK = 8192
"""Bank images that are compared at once; on a GPU GPU_BLOCK."""
GPU_BLOCK = 65536
CHUNK = 1024
"""Queries that they are compared with at once."""
TILE = 256
"""Bank images whose similarities with a chunk of queries are in a processor's cache at once."""
GROUP = 32
"""Similarities that are passed over at once where the largest of them is too small."""


def vote_weighted_knn(
    bank: Tensor | h5py.Dataset, labels: Tensor, queries: Tensor, *, n_classes: int, k: int, tau: float
) -> Tensor:
    """Return the class votes of the similarity-weighted kNN classifier.

    votes[i, c] = sum of exp((s - s_1) / tau) over those of the k bank images nearest to query i that have label c, s = cosine
    similarity in float32, s_1 that of the nearest: equation 4 but for a factor of the query, without which exp overflows where
    tau is below .011. Among equally similar images the earlier ones of the bank are nearer.

    The bank is read once, in blocks. Beside the arguments and the votes, memory holds a block twice (BLOCK, d), its
    similarities with a chunk of queries for every thread (CHUNK, TILE; on a GPU CHUNK, GPU_BLOCK), and 2 k neighbours a
    query. Several processes (`distributed`) share the queries.

    Args:
        bank: (n_bank, d) float, any scale (L2-normalised here).
        labels: (n_bank,) int64 in [0, n_classes).
        queries: (n_queries, d) float; the search runs where they are, on the processor or a GPU.
        n_classes: number of columns of the result.
        k: number of neighbours that vote, 1 <= k <= n_bank.
        tau: temperature > 0, in units of cosine similarity.

    Returns:
        (n_queries, n_classes) float32, unnormalised; the class with the most is the prediction.

    Raises:
        ValueError: k or tau is out of range, or an input holds a non-finite value.

    Source: Konkle and Alvarez 2020, appendix B.3, equation 4; Wu et al. 2018.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"knn.k: {k} neighbours; give a number from 1 to the {len(bank)} images of the bank")
    if not tau > 0:
        raise ValueError(f"knn.tau: {tau}; the temperature must be above 0")
    n_queries = len(queries)
    queries = distributed.share(_normalize(queries, "queries"))
    find_nearest = find_nearest_on_gpu if queries.is_cuda else find_nearest_on_cpu
    similarity, neighbour = find_nearest(queries, _read_blocks(bank, queries.device), k)
    votes = torch.zeros(len(queries), n_classes, device=queries.device)
    weights = torch.exp((similarity - similarity.amax(1, keepdim=True)) / tau)  # (q, k)
    voted = labels.to(queries.device)[neighbour]
    for i in range(k):  # one neighbour at a time: of several for one class a GPU would add in any order
        votes.scatter_add_(1, voted[:, i : i + 1], weights[:, i : i + 1])
    return distributed.gather(votes)[:n_queries]


def _normalize(embeddings: Tensor, name: str) -> Tensor:
    """Divide rows by their L2 norm; refuse what is not finite."""
    embeddings = embeddings.float()
    norm = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    if not norm.isfinite().all():
        raise ValueError(f"the {name} embeddings hold non-finite values")
    return embeddings / norm.clamp(min=1e-12)


def _read_blocks(bank: Tensor | h5py.Dataset, device: torch.device) -> Iterator[Tensor]:
    n = GPU_BLOCK if device.type == "cuda" else BLOCK
    for start in range(0, len(bank), n):
        yield _normalize(torch.as_tensor(bank[start : start + n]).to(device), "bank")


def find_nearest_on_cpu(queries: Tensor, blocks: Iterator[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Find the k images of the bank that are most similar to each query; among equally similar ones the first.

    Each thread compares one chunk of queries with a block and keeps what exceeds the k-th largest similarity so far.

    Args:
        queries: (q, d) float32 of unit length.
        blocks: (b, d) float32 of unit length, together the bank.
        k: at most the number of bank images.

    Returns:
        (q, k) float32 similarities and (q, k) int64 positions in the bank, both in the bank's order.
    """
    n_threads = torch.get_num_threads()
    chunks = queries.split(min(CHUNK, -(-len(queries) // n_threads)))
    kept = [
        (
            np.full((len(chunk), 2 * k), -np.inf, np.float32),
            np.zeros((len(chunk), 2 * k), np.int32),
            np.zeros(len(chunk), np.int64),
            np.full(len(chunk), -np.inf, np.float32),
        )
        for chunk in chunks
    ]
    start = 0

    def compare(chunk: Tensor, kept: tuple) -> None:
        similarity = chunk.new_empty(len(chunk) * TILE)
        for first in range(0, len(block), TILE):
            tile = block[first : first + TILE]
            out = similarity[: len(chunk) * len(tile)].view(len(chunk), len(tile))
            keep_nearest(torch.mm(chunk, tile.T, out=out).numpy(), start + first, k, *kept)

    torch.set_num_threads(1)  # threads that wait between the blocks would keep the processor busy
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            for block in blocks:
                list(threads.map(compare, chunks, kept))
                start += len(block)
    finally:
        torch.set_num_threads(n_threads)
    for similarity, position, n, _ in kept:
        for i in range(len(n)):
            similarity[i, n[i] :] = -np.inf
            choose_largest(similarity[i], position[i], k)
    similarity, position = (torch.from_numpy(np.concatenate([part[i][:, :k] for part in kept])) for i in (0, 1))
    return similarity, position.long()


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def keep_nearest(similarity, start, k, kept, positions, n_kept, limits):
    """Add to each query's (row's) kept images those of a block that exceed its limit; the block begins at `start`.

    Once 2 k are kept, only the k most similar stay, and the smallest of them is the new limit.
    """
    for i in range(similarity.shape[0]):
        row = similarity[i]
        n, limit = n_kept[i], limits[i]
        for first in range(0, len(row), GROUP):
            group = row[first : first + GROUP]
            largest = group[0]
            for value in group:
                largest = max(largest, value)
            if largest > limit:
                for j in range(len(group)):
                    if group[j] > limit:
                        kept[i, n], positions[i, n] = group[j], start + first + j
                        n += 1
                        if n == 2 * k:
                            limit = choose_largest(kept[i], positions[i], k)
                            n = k
        n_kept[i], limits[i] = n, limit


@njit(cache=True, nogil=True)
def choose_largest(values, positions, k):
    """Move the k largest values and their positions to the front, in their order, the first of equal ones; return the k-th."""
    limit = find_largest(values, k)
    n_equal = k - (values > limit).sum()
    n = 0
    for j in range(len(values)):
        equal = values[j] == limit and n_equal > 0
        if values[j] > limit or equal:
            n_equal -= equal
            values[n], positions[n] = values[j], positions[j]
            n += 1
    return limit


@njit(cache=True, nogil=True)
def find_largest(values, k):
    """Return the k-th largest of some values (n,), by Hoare's FIND: numba would compile `np.partition` for 12 seconds."""
    values, low, high = values.copy(), 0, len(values) - 1
    while low < high:
        middle, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] > middle:
                i += 1
            while values[j] < middle:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return values[k - 1]


def find_nearest_on_gpu(queries: Tensor, blocks: Iterator[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Do what `find_nearest_on_cpu` does, by operations that suit a GPU (it runs anywhere)."""
    similarity = queries.new_full((len(queries), k), -torch.inf)
    position = torch.zeros_like(similarity, dtype=torch.int64)
    start = 0
    for block in blocks:
        for first in range(0, len(queries), CHUNK):
            rows = slice(first, first + CHUNK)
            found = queries[rows] @ block.T  # (chunk, b)
            columns = take_largest(found, min(k, len(block)))
            values = torch.cat([similarity[rows], found.gather(1, columns)], dim=1)  # (chunk, 2 k), in the bank's order
            positions = torch.cat([position[rows], start + columns], dim=1)
            nearest = take_largest(values, k)
            similarity[rows], position[rows] = values.gather(1, nearest), positions.gather(1, nearest)
        start += len(block)
    return similarity, position


def take_largest(values: Tensor, k: int) -> Tensor:
    """Return the columns (n, k), ascending, of the k largest values (n, m) of each row; among equal ones the first.

    `topk` does not say which of equal values it takes. That matters in the rows whose k-th and next value are equal, which are
    few: they alone are looked at again.
    """
    if k == values.shape[1]:
        return torch.arange(k, device=values.device).expand(len(values), k)
    largest = values.topk(k + 1, dim=1)
    columns = largest.indices[:, :k].sort(dim=1).values
    tied = largest.values[:, k - 1] == largest.values[:, k]  # (n,)
    if tied.any():
        rows, smallest = values[tied], largest.values[tied, k - 1 : k]
        larger, equal = rows > smallest, rows == smallest
        taken = larger | (equal & (equal.cumsum(1) <= k - larger.sum(1, keepdim=True)))  # k in every row
        columns[tied] = taken.nonzero()[:, 1].view(-1, k)
    return columns
