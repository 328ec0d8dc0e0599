"""How loops are compiled for the CPU.

A compiled function lets go of the interpreter, so that threads may share the work. The machine code is kept beside the
source, in __pycache__, or where NUMBA_CACHE_DIR says: only the first run after a change compiles, for some seconds. Who
changes the options here changes the files of the kernels too, or numba takes what it kept.
"""

import numba

kernel = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
"""Compiles a function when it is first called. Sums may be taken in the order that vector units like; NaN stays what it
is, or `select` would count it here and not there. Kernels also carry `no_type_check`, for numba compiles no jaxtyping
wrapper."""
