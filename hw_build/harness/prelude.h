// Forced into every file of a model, before all else.
#pragma once
#ifndef __clang__
// It loads signals early, to spill them again: measured, a twentieth of the time.
#pragma GCC optimize("no-tree-pre")
#endif
#include "verilated.h"
// Verilator's population counts as the processor's instruction.
#define VL_COUNTONES_I(x) static_cast<IData>(__builtin_popcount(x))
#define VL_COUNTONES_Q(x) static_cast<IData>(__builtin_popcountll(x))
// A word at a time; Verilator's own function was compiled before the lines above.
static inline IData popcount_words(int n, const EData* words) {
    IData count = 0;
    for (int i = 0; i < n; ++i) count += static_cast<IData>(__builtin_popcount(words[i]));
    return count;
}
#define VL_COUNTONES_W(n, words) popcount_words(n, words)
