"""Give up the processor threads that a Python thread holds, so that another one can use all of them.

PyTorch's products on a CPU are divided by OpenMP, which keeps helper threads for every Python thread that ever asked
for such a product. Once there are more of them in all than processors, those that wait no longer wait actively, and
every product is slower: a step of a small model takes twice as long. So only the thread that decodes may hold any.
"""

import ctypes

HARD = 2
"""`omp_pause_hard` of the OpenMP 5.0 specification, section 3.2.43: free what the implementation keeps."""
LLVM = "__kmpc_fork_call"
"""A function that LLVM's and Intel's OpenMP have, and GCC's has not."""


def give_up_processor_threads() -> None:
    """Free the helper threads of the calling thread, which come again with its next product.

    Does nothing where OpenMP is not GCC's, which PyTorch's packages for Linux bring: LLVM's would take the threads of
    all, also of one that computes.
    """
    try:
        openmp = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return
    if hasattr(openmp, "omp_pause_resource_all") and not hasattr(openmp, LLVM):
        openmp.omp_pause_resource_all(HARD)
