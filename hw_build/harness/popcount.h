// Forced into every file of a model: Verilator's population counts as the processor's instruction.
#pragma once
#include "verilated.h"
#define VL_COUNTONES_I(x) static_cast<IData>(__builtin_popcount(x))
#define VL_COUNTONES_Q(x) static_cast<IData>(__builtin_popcountll(x))
