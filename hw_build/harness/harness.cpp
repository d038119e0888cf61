// Streams a whole batch from an array through a Verilator model into an array, without a step of
// Python per cycle. Compiled together with the model; `streams.h` is written for each model and
// lists its streams: STREAMS(X) calls X(index, name) for each, in order.
//
// The caller keeps a Job and calls sim_advance until it is done: the model's state lives on
// between calls, so that progress can be shown without draining the pipeline.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <unistd.h>

#include "Vaccelerator.h"
#include "Vaccelerator___024root.h"
#include "streams.h"
#include "verilated.h"
#ifdef TRACE
#include "verilated_fst_c.h"
#endif

void Vaccelerator___024root___eval(Vaccelerator___024root*);

namespace {

// The bits of a signal as 32-bit words, whatever C++ type Verilator chose for its width.
template <typename T>
void copy_words(uint32_t* to, const T& value) {
    to[0] = static_cast<uint32_t>(value);
    if (sizeof(T) > 4) to[1] = static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32);
}
template <std::size_t N>
void copy_words(uint32_t* to, const VlWide<N>& value) {
    std::memcpy(to, value.data(), N * sizeof(uint32_t));
}
template <typename T>
constexpr uint32_t words_of(const T&) { return sizeof(T) > 4 ? 2 : 1; }
template <std::size_t N>
constexpr uint32_t words_of(const VlWide<N>&) { return N; }

struct Random {  // xorshift64*, for stalls that a seed repeats
    uint64_t state;
    uint32_t byte() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return static_cast<uint32_t>((state * 0x2545F4914F6CDD1DULL) >> 56);
    }
};

constexpr int MAX_WORDS = 4096;  // of one beat

// The clock has gone low: what the evaluation of an edge that moves nothing would note. Where
// Verilator keeps it under another name, that edge is evaluated.
template <typename Root>
auto note_low_clock(Root* root, int) -> decltype(root->__Vtrigprevexpr___TOP__clk__0, bool()) {
    root->__Vtrigprevexpr___TOP__clk__0 = 0;
    return true;
}
template <typename Root>
bool note_low_clock(Root*, long) { return false; }

}  // namespace

enum Status : int32_t {
    DONE = 0,           // all output beats are there
    RUNNING = 1,        // the cycle budget of this call is used up
    STUCK = 2,          // no beat moved at either end for `patience` cycles
    LAST_WRONG = 3,     // tlast missing at the end of the transfer, or raised before it
    VALID_FELL = 4,     // on stream `fault_stream`: tvalid fell without a transfer
    DATA_CHANGED = 5,   // on stream `fault_stream`: tdata changed while tvalid waited
    EXTRA_OUTPUT = 6,   // more output beats than the batch has
};

extern "C" {

struct Job {
    const uint64_t* input;
    uint64_t* output;
    uint64_t* output_cycles;   // the cycle of each output beat, or null
    uint32_t** recorded;       // per stream: where its beats go, or null
    uint64_t** recorded_cycles;  // per stream: where the cycles of those beats go, or null
    uint64_t* recorded_beats;  // per stream: beats that passed so far
    uint64_t* capacities;      // per stream: beats that `recorded` holds
    uint64_t n_input, n_output;
    uint64_t input_done, output_done, cycle, first_offer_cycle, idle, patience;
    uint64_t random_state;
    uint32_t stall_input, stall_output;  // of 256: how often that end holds back
    uint32_t check_protocol;
    uint32_t input_offered, output_wanted, started;
    int32_t fault_stream;
    uint64_t input_stalls, output_stalls;  // cycles in which a valid beat waited for ready
    uint64_t first_taken_cycle;            // of the first input beat that the model took
};

struct Simulation {
    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vaccelerator> top;
#ifdef TRACE
    std::unique_ptr<VerilatedFstC> trace;
#endif
    uint64_t time = 0;
    uint32_t waiting[N_STREAMS] = {};
    uint32_t held[N_STREAMS][MAX_WORDS] = {};

    void evaluate() {
        top->eval();
#ifdef TRACE
        if (trace) trace->dump(time);
#endif
        time += 1;
    }
    // After a rising edge everything has settled, and stays so until an input changes.
    void settle(bool inputs_changed) {
#ifndef TRACE
        if (!inputs_changed && note_low_clock(top->rootp, 0)) return;
#endif
        evaluate();
    }
    void clock() {
        top->clk = 1;
#ifdef TRACE
        evaluate();
#else
        // What `eval` does but for its message queue, which this one thread doesn't use.
        Vaccelerator___024root___eval(top->rootp);
#endif
        top->clk = 0;
    }
};

void sim_reset(Simulation* s) {
    s->top->resetn = 0;
    s->top->s_axis_tvalid = 0;
    s->top->m_axis_tready = 0;
    for (int i = 0; i < 4; ++i) {
        s->evaluate();
        s->clock();
    }
    s->top->resetn = 1;
    std::memset(s->waiting, 0, sizeof s->waiting);
}

// Memory files are read from `memory_folder`, so that one model serves all networks of its shape.
Simulation* sim_open(const char* memory_folder, const char* trace_file) {
    char* const home = getcwd(nullptr, 0);
    if (home == nullptr || chdir(memory_folder) != 0) return nullptr;
    auto* s = new Simulation;
    s->context = std::make_unique<VerilatedContext>();
    s->context->randReset(0);
#ifdef TRACE
    s->context->traceEverOn(true);
#endif
    s->top = std::make_unique<Vaccelerator>(s->context.get());
#ifdef TRACE
    if (trace_file[0] != '\0') {
        s->trace = std::make_unique<VerilatedFstC>();
        s->top->trace(s->trace.get(), 99);
        s->trace->open(trace_file);
    }
#else
    (void)trace_file;
#endif
    s->top->clk = 0;
    s->top->s_axis_tdata = 0;
    sim_reset(s);
    const int returned = chdir(home);
    free(home);
    if (returned != 0) {
        delete s;
        return nullptr;
    }
    return s;
}

void sim_close(Simulation* s) {
    // The thread's context is that of the model opened last, which may be gone by now.
    Verilated::threadContextp(s->context.get());
    s->top->final();
#ifdef TRACE
    if (s->trace) s->trace->close();
#endif
    delete s;
}

uint32_t sim_stream_words(Simulation* s, int32_t stream) {
    auto* root = s->top->rootp;
    switch (stream) {
#define WORDS(index, name) \
    case index: return words_of(root->accelerator__DOT__##name##_tdata);
        STREAMS(WORDS)
#undef WORDS
    }
    return 0;
}

// Bit 0: valid, bit 1: ready. For a picture of who waits for whom.
uint32_t sim_stream_state(Simulation* s, int32_t stream) {
    auto* root = s->top->rootp;
    switch (stream) {
#define STATE(index, name)                                 \
    case index:                                            \
        return (root->accelerator__DOT__##name##_tvalid & 1) \
             | ((root->accelerator__DOT__##name##_tready & 1) << 1);
        STREAMS(STATE)
#undef STATE
    }
    return 0;
}

// The register bus, one access at a time; the streams stand still meanwhile. Reset leaves it idle.
static void bus_step(Simulation* s) {
    s->top->s_axis_tvalid = 0;
    s->top->m_axis_tready = 0;
    s->evaluate();
    s->clock();
}

void sim_write_register(Simulation* s, uint32_t address, uint32_t value) {
    auto* const top = s->top.get();
    top->s_axi_lite_awaddr = address;
    top->s_axi_lite_wdata = value;
    top->s_axi_lite_wstrb = 0xF;
    top->s_axi_lite_awvalid = top->s_axi_lite_wvalid = top->s_axi_lite_bready = 1;
    bus_step(s);  // taken: both are ready when no access is under way
    top->s_axi_lite_awvalid = top->s_axi_lite_wvalid = 0;
    while (!top->s_axi_lite_bvalid) bus_step(s);
    bus_step(s);
    top->s_axi_lite_bready = 0;
}

uint32_t sim_read_register(Simulation* s, uint32_t address) {
    auto* const top = s->top.get();
    top->s_axi_lite_araddr = address;
    top->s_axi_lite_arvalid = 1;
    bus_step(s);
    top->s_axi_lite_arvalid = 0;
    while (!top->s_axi_lite_rvalid) bus_step(s);
    const uint32_t value = top->s_axi_lite_rdata;
    top->s_axi_lite_rready = 1;
    bus_step(s);
    top->s_axi_lite_rready = 0;
    return value;
}

// What no output depends on, such as the rows that a stride leaves out, may come after the last one.
static bool all_recorded(const Job* job) {
    for (int i = 0; i < N_STREAMS; ++i)
        if (job->recorded_beats[i] < job->capacities[i]) return false;
    return true;
}

int32_t sim_advance(Simulation* s, Job* job, uint64_t budget) {
    Vaccelerator* const top = s->top.get();
    auto* const root = top->rootp;
    Random random{job->random_state};
    const bool stalls = job->stall_input != 0 || job->stall_output != 0;
    int32_t status = RUNNING;
    bool watched = job->check_protocol;
    for (int i = 0; i < N_STREAMS; ++i) watched |= job->recorded[i] != nullptr;
    bool changed = true;
    for (uint64_t end = job->cycle + budget; job->cycle < end && status == RUNNING; ++job->cycle) {
        // Each end may hold back, but a beat once offered stays until it is taken.
        if (stalls) {
            if (!job->input_offered) job->input_offered = random.byte() >= job->stall_input;
            job->output_wanted = random.byte() >= job->stall_output;
        } else {
            job->input_offered = job->output_wanted = 1;
        }
        const bool offer = job->input_offered && job->input_done < job->n_input;
        if (offer && !job->started) {
            job->first_offer_cycle = job->cycle;
            job->started = 1;
        }
        const uint64_t word = offer ? job->input[job->input_done] : 0;
        changed |= top->s_axis_tvalid != offer || top->s_axis_tdata != word
                   || top->m_axis_tready != job->output_wanted;
        top->s_axis_tvalid = offer;
        top->s_axis_tdata = word;
        top->m_axis_tready = job->output_wanted;
        s->settle(changed);
        changed = false;

#define WATCH(index, name)                                                                  \
    {                                                                                       \
        const auto& data = root->accelerator__DOT__##name##_tdata;                          \
        const bool valid = root->accelerator__DOT__##name##_tvalid & 1;                     \
        const bool ready = root->accelerator__DOT__##name##_tready & 1;                     \
        if (valid && ready && job->recorded[index]                                          \
            && job->recorded_beats[index] < job->capacities[index]) {                       \
            copy_words(job->recorded[index]                                                 \
                           + job->recorded_beats[index] * words_of(data), data);            \
            if (job->recorded_cycles[index])                                                \
                job->recorded_cycles[index][job->recorded_beats[index]] = job->cycle;       \
        }                                                                                   \
        job->recorded_beats[index] += valid && ready;                                       \
        if (job->check_protocol) {                                                          \
            uint32_t words[MAX_WORDS];                                                      \
            const uint32_t n = words_of(data);                                              \
            copy_words(words, data);                                                        \
            if (s->waiting[index] && !valid) {                                              \
                status = VALID_FELL;                                                        \
                job->fault_stream = index;                                                  \
            } else if (s->waiting[index]                                                    \
                       && std::memcmp(words, s->held[index], n * sizeof(uint32_t)) != 0) {  \
                status = DATA_CHANGED;                                                      \
                job->fault_stream = index;                                                  \
            }                                                                               \
            s->waiting[index] = valid && !ready;                                            \
            std::memcpy(s->held[index], words, n * sizeof(uint32_t));                       \
        }                                                                                   \
    }
        if (watched) {
            STREAMS(WATCH)
        }
#undef WATCH

        ++job->idle;
        job->input_stalls += offer && !top->s_axis_tready;
        job->output_stalls += top->m_axis_tvalid && !top->m_axis_tready;
        if (offer && top->s_axis_tready) {
            if (job->input_done == 0) job->first_taken_cycle = job->cycle;
            ++job->input_done;
            job->input_offered = 0;
            job->idle = 0;
        }
        if (top->m_axis_tvalid && top->m_axis_tready) {
            if (job->output_done == job->n_output) {
                status = EXTRA_OUTPUT;
            } else {
                job->output[job->output_done] = top->m_axis_tdata;
                if (job->output_cycles) job->output_cycles[job->output_done] = job->cycle;
                ++job->output_done;
                if (top->m_axis_tlast != (job->output_done == job->n_output)) status = LAST_WRONG;
            }
            job->idle = 0;
        }
        if (status == RUNNING && job->output_done == job->n_output
            && (job->idle > job->patience || all_recorded(job))) status = DONE;
        else if (job->idle > job->patience) status = STUCK;
        s->clock();
    }
    job->random_state = random.state;
    return status;
}

}  // extern "C"
