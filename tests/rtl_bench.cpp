// Runs a model of many independent instances at once, each stream with stalls of its own, and
// checks the rules of AXI4-Stream on every one. Compiled together with the model; `cases.h` is
// written for each and lists the streams: SOURCES(X) and SINKS(X) call X(index, port prefix).

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unistd.h>

#include "Vbench.h"
#include "cases.h"
#include "verilated.h"

enum Fault : int32_t {
    NONE = 0,
    STUCK = 1,          // nothing moved in the whole case for `patience` cycles
    VALID_FELL = 2,     // tvalid fell without a transfer
    DATA_CHANGED = 3,   // tdata changed while tvalid waited for tready
    EXTRA_BEAT = 4,     // a beat beyond those that are expected
    VALID_ASKS = 5,     // tvalid or tdata depends on tready
    EARLY = 6,          // the case was over before the reset in its middle
};

struct Stream {
    uint32_t* words;    // n_beats * n_words: to send, or received
    uint64_t* cycles;   // of each beat's transfer
    uint64_t n_beats, done, random_state;
    uint32_t n_words, top_mask, instance, share, active, waiting;
    int32_t fault;
};

namespace {

constexpr int MAX_WORDS = 1024;    // of one beat
constexpr uint64_t STRETCH = 32;   // cycles for which a stream's share of stalls stays the same
constexpr uint64_t AFTER = 100;    // cycles in which a beat too many would show itself

uint32_t draw(Stream& s) {  // xorshift64*
    s.random_state ^= s.random_state >> 12;
    s.random_state ^= s.random_state << 25;
    s.random_state ^= s.random_state >> 27;
    return static_cast<uint32_t>((s.random_state * 0x2545F4914F6CDD1DULL) >> 32);
}

// Whether the stream holds back in this cycle: stretches in which it hardly ever does, and others
// in which it mostly does, on average `stalls` of 65536 cycles.
bool stalled(Stream& s, uint64_t cycle, uint32_t stalls) {
    if (stalls == 0) return false;
    if (cycle % STRETCH == 0)
        s.share = static_cast<uint32_t>((static_cast<uint64_t>(draw(s) >> 16) * 2 * stalls) >> 16);
    return (draw(s) >> 16) < s.share;
}

template <typename T>
void put(T& to, const uint32_t* words, uint32_t mask) {
    const uint64_t low = sizeof(T) > 4 ? words[0] : words[0] & mask;
    const uint64_t high = sizeof(T) > 4 ? words[1] & mask : 0;
    to = static_cast<T>(low | high << 32);
}
template <std::size_t N>
void put(VlWide<N>& to, const uint32_t* words, uint32_t mask) {
    std::memcpy(to.data(), words, N * sizeof(uint32_t));
    to[N - 1] &= mask;
}
template <typename T>
void get(uint32_t* words, const T& from) {
    words[0] = static_cast<uint32_t>(from);
    if (sizeof(T) > 4) words[1] = static_cast<uint32_t>(static_cast<uint64_t>(from) >> 32);
}
template <std::size_t N>
void get(uint32_t* words, const VlWide<N>& from) {
    std::memcpy(words, from.data(), N * sizeof(uint32_t));
}

// An offered beat stays until it is taken; while none is offered, tdata is noise.
template <typename T>
void drive(Stream& s, uint64_t cycle, uint32_t stalls, T& data, CData& valid) {
    const bool stall = stalled(s, cycle, stalls);
    if (s.active) return;
    s.active = s.done < s.n_beats && !stall;
    valid = s.active;
    if (s.active) return put(data, s.words + s.done * s.n_words, s.top_mask);
    uint32_t noise[MAX_WORDS];
    for (uint32_t i = 0; i < s.n_words; ++i) noise[i] = draw(s);
    put(data, noise, s.top_mask);
}

}  // namespace

extern "C" {

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vbench> top;
    uint32_t held[N_STREAMS][MAX_WORDS] = {};
};

Bench* bench_open(const char* memory_folder, int32_t seed) {
    char* const home = getcwd(nullptr, 0);
    if (home == nullptr || chdir(memory_folder) != 0) return nullptr;
    auto* b = new Bench;
    b->context.randReset(2);  // registers start as noise: what needs a reset has to have one
    b->context.randSeed(seed);
    b->top = std::make_unique<Vbench>(&b->context);
    b->top->clk = 0;
    b->top->resetn = 0;
    b->top->eval();
    const int returned = chdir(home);
    free(home);
    if (returned != 0) std::abort();
    return b;
}

void bench_close(Bench* b) {
    Verilated::threadContextp(&b->context);
    b->top->final();
    delete b;
}

// From reset to `most` cycles, or until all cases are over. Returns the number of cycles; faults
// are in the streams. `last_moves` holds a cycle for each case.
uint64_t bench_run(Bench* b, Stream* streams, uint64_t* last_moves, uint32_t n_cases,
                   uint32_t stalls, uint64_t patience, uint64_t most) {
    Vbench* const top = b->top.get();
    top->resetn = 0;
#define QUIET_SOURCE(i, port) top->port##_tvalid = 0;
#define QUIET_SINK(i, port) top->port##_tready = 0;
    SOURCES(QUIET_SOURCE)
    SINKS(QUIET_SINK)
    for (int i = 0; i < 4; ++i) {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
    }
    top->resetn = 1;
    for (uint32_t i = 0; i < n_cases; ++i) last_moves[i] = 0;
    for (uint32_t i = 0; i < N_STREAMS; ++i)
        streams[i].done = streams[i].active = streams[i].waiting = 0;

    uint64_t end = most, cycle = 0;
    for (; cycle < end; ++cycle) {
        bool fault = false, over = true;
#define DRIVE(i, port) \
    drive(streams[i], cycle, stalls, top->port##_tdata, top->port##_tvalid);
        SOURCES(DRIVE)
        if (cycle % 8 == 0) {  // what is offered must not depend on who wants it
#define REFUSE(i, port) top->port##_tready = 0;
            SINKS(REFUSE)
            top->eval();
#define OFFERED(i, port)                          \
    offered[i] = top->port##_tvalid;              \
    get(offered_words[i], top->port##_tdata);
            bool offered[N_STREAMS];
            static thread_local uint32_t offered_words[N_STREAMS][MAX_WORDS];
            SINKS(OFFERED)
#define WANT(i, port) top->port##_tready = !stalled(streams[i], cycle, stalls);
            SINKS(WANT)
            top->eval();
#define COMPARE(i, port)                                                                      \
    {                                                                                         \
        uint32_t words[MAX_WORDS];                                                            \
        get(words, top->port##_tdata);                                                        \
        if (offered[i] != top->port##_tvalid                                                  \
            || (offered[i]                                                                    \
                && std::memcmp(words, offered_words[i], streams[i].n_words * 4) != 0)) {      \
            streams[i].fault = VALID_ASKS;                                                    \
            fault = true;                                                                     \
        }                                                                                     \
    }
            SINKS(COMPARE)
        } else {
            SINKS(WANT)
            top->eval();
        }

#define TAKE_SOURCE(i, port)                                     \
    {                                                            \
        Stream& s = streams[i];                                  \
        if (s.active && top->port##_tready) {                    \
            s.cycles[s.done++] = last_moves[s.instance] = cycle; \
            s.active = 0;                                        \
        }                                                        \
    }
#define TAKE_SINK(i, port)                                                       \
    {                                                                            \
        Stream& s = streams[i];                                                  \
        const bool valid = top->port##_tvalid;                                   \
        if (s.waiting && !valid) s.fault = VALID_FELL;                           \
        if (valid) {                                                             \
            uint32_t words[MAX_WORDS];                                           \
            get(words, top->port##_tdata);                                       \
            if (s.waiting && std::memcmp(words, b->held[i], s.n_words * 4) != 0) \
                s.fault = DATA_CHANGED;                                          \
            else if (s.done == s.n_beats)                                        \
                s.fault = EXTRA_BEAT;                                            \
            std::memcpy(b->held[i], words, s.n_words * 4);                       \
            s.waiting = !top->port##_tready;                                     \
            if (!s.waiting && !s.fault) {                                        \
                std::memcpy(s.words + s.done * s.n_words, words, s.n_words * 4); \
                s.cycles[s.done++] = last_moves[s.instance] = cycle;             \
            }                                                                    \
        }                                                                        \
        fault |= s.fault != NONE;                                                \
    }
        SOURCES(TAKE_SOURCE)
        SINKS(TAKE_SINK)
        for (uint32_t i = 0; i < N_STREAMS; ++i) {
            Stream& s = streams[i];
            if (s.done == s.n_beats) continue;
            over = false;
            if (cycle > last_moves[s.instance] + patience) {
                s.fault = STUCK;
                fault = true;
            }
        }
        top->clk = 1;
        top->eval();
        top->clk = 0;
        if (fault) return cycle;
        if (over && end == most) end = cycle + AFTER < most ? cycle + AFTER : most;
    }
    return cycle;
}

}  // extern "C"
