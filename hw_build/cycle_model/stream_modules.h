// The handshakes of the modules in ../rtl, without data: one class each, with the module's
// parameters and registers under their own names. Here those that know vectors but no images.
#pragma once

#include "block.h"

struct LaneSplitter final : Block {
    const int RATIO, VECTOR;
    const bool padded;
    REGISTERS(part = 0, beat = 0)
    explicit LaneSplitter(const Parameters& p)
        : RATIO(p("RATIO")), VECTOR(p("VECTOR")), padded(VECTOR % RATIO != 0) {}
    bool passes() const override { return true; }
    void offer() override { set_valid(valid()); }
    bool step() override {
        const bool end_of_vector = padded && r.beat == VECTOR - 1;
        const bool end_of_beat = r.part == RATIO - 1 || end_of_vector;
        set_ready(ready() && end_of_beat);
        if (!valid() || !ready()) return false;
        r.part = end_of_beat ? 0 : r.part + 1;
        if (padded) count(r.beat, VECTOR);
        return true;
    }
};

struct LaneJoiner final : Block {
    const int RATIO, VECTOR;
    const bool padded;
    REGISTERS(part = 0, beat = 0, full = 0)
    explicit LaneJoiner(const Parameters& p)
        : RATIO(p("RATIO")), VECTOR(p("VECTOR")), padded(VECTOR % RATIO != 0) {}
    bool step() override {
        const bool padding = padded && r.beat == VECTOR;
        const bool room = !r.full || ready();
        const bool take = room && (padding || valid());
        const bool last_part = r.part == RATIO - 1;
        set_ready(room && !padding);
        const bool moved = take || (r.full && ready());
        if (take && padded) r.beat = padding ? (last_part ? 0 : r.beat) : r.beat + 1;
        if (take) r.part = last_part ? 0 : r.part + 1;
        if (room) r.full = take && last_part;
        set_valid(r.full);
        return moved;
    }
};

// With the buffer in front of it: stream_fifo, or replay_buffer where vectors are replayed.
struct Mvu final : Block {
    const int FOLD_IN, FOLD_OUT, STAGES;
    const bool replays;
    int depth;  // beats of the buffer
    // `held` from the first beat that may not be overwritten on, `ahead` from the next to be read
    // on; bit 0 of `pipeline` is stage 1, bit 1 stage 2, then follow the results.
    REGISTERS(held = 0, ahead = 0, replay = 0, beat = 0, pipeline = 0, last1 = 0, last2 = 0)
    explicit Mvu(const Parameters& p)
        : FOLD_IN(p("FOLD_IN")), FOLD_OUT(p("FOLD_OUT")), STAGES(std::max(p("LEVEL_BITS") - 1, 0)),
          replays(FOLD_OUT > 1 && p("DEPTHWISE", 0) == 0), depth(2) {
        if (replays)
            while (depth < 2 * FOLD_IN) depth *= 2;
    }
    bool step() override {
        const int result = 2 + STAGES;  // the bit that offers
        const bool stands = r.pipeline >> result & 1;
        const bool completes = (r.pipeline >> 1 & 1) && r.last2;
        const bool entering_last = STAGES == 0 ? completes : r.pipeline >> (result - 1) & 1;
        const bool enable = !(stands && !ready() && entering_last);
        const bool fire = r.ahead != 0 && enable;
        set_ready(r.held != depth);
        const bool push = valid() && r.held != depth;
        const int before = r.pipeline;

        if (push) ++r.held, ++r.ahead;
        const bool last_beat = r.beat == FOLD_IN - 1;
        if (fire) {
            --r.ahead;
            if (!replays) {
                --r.held;
            } else if (last_beat) {
                const bool last_replay = r.replay == FOLD_OUT - 1;
                if (last_replay) r.held = r.ahead;
                else r.ahead = r.held;
                count(r.replay, FOLD_OUT);
            }
            count(r.beat, FOLD_IN);
        }
        const bool waits = stands && !ready();
        if (enable) {
            int32_t next = r.pipeline & ~2;  // what is in stage 2 goes on only as a result
            next = (next & ((1 << result) - 1)) << 1;
            next |= fire | (completes ? 4 : 0);
            r.pipeline = next | (waits ? 1 << result : 0);
            r.last2 = (next >> 1 & 1) && r.last1;
            r.last1 = fire && last_beat;
        }
        set_valid(r.pipeline >> result & 1);
        return push || fire || r.pipeline != before || (stands && ready());
    }
};

struct ArgMax final : Block {
    const int BEATS;
    REGISTERS(beat = 0, full = 0)
    explicit ArgMax(const Parameters& p)
        : BEATS((p("N") + p("LANES") - 1) / p("LANES")) {}
    bool step() override {
        const bool last = r.beat == BEATS - 1;
        const bool waits = r.full && !ready();
        set_ready(!(last && waits));
        const bool fire = valid() && !(last && waits);
        const bool moved = fire || (r.full && ready());
        if (fire) count(r.beat, BEATS);
        r.full = (fire && last) || waits;
        set_valid(r.full);
        return moved;
    }
};

struct TopK final : Block {
    const int N, K;
    REGISTERS(index = 0, left = 0)
    explicit TopK(const Parameters& p) : N(p("N")), K(p("K")) {}
    bool step() override {
        const bool last = r.index == N - 1;
        const bool pop = r.left > 0 && ready();
        const bool may_take = !(last && r.left - pop > 0);
        set_ready(may_take);
        const bool fire = valid() && may_take;
        if (fire) count(r.index, N);
        if (fire && last) r.left = K;
        else if (pop) --r.left;
        set_valid(r.left > 0);
        return fire || pop;
    }
};

struct DeepFifo final : Block {
    const int DEPTH;
    const bool BLOCK_MEMORY;
    int64_t most = 0;
    REGISTERS(stored = 0, head = 0)
    explicit DeepFifo(const Parameters& p)
        : DEPTH(p("DEPTH")), BLOCK_MEMORY(p("BLOCK_MEMORY", 0) != 0) {}
    int64_t most_held() const override { return most; }
    bool step() override {
        const bool may_take = BLOCK_MEMORY ? !(r.stored == DEPTH - 1 && r.head)
                                           : r.stored != DEPTH;
        set_ready(may_take);
        const bool push = valid() && may_take;
        bool pop, moved;
        if (BLOCK_MEMORY) {
            pop = r.stored != 0 && (!r.head || ready());
            moved = push || pop || (r.head && ready());
            r.head = pop || (r.head && !ready());
        } else {
            pop = r.stored != 0 && ready();
            moved = push || pop;
        }
        r.stored += push - pop;
        most = std::max<int64_t>(most, r.stored + r.head);
        set_valid(BLOCK_MEMORY ? r.head : r.stored != 0);
        return moved;
    }
};

struct StreamFork final : Block {
    REGISTERS(done0 = 0, done1 = 0)
    explicit StreamFork(const Parameters&) {}
    bool passes() const override { return true; }
    void offer() override {
        set_valid(valid() && !r.done0, 0);
        set_valid(valid() && !r.done1, 1);
    }
    bool step() override {
        const bool has0 = r.done0 || ready(0), has1 = r.done1 || ready(1);
        set_ready(has0 && has1);
        if (!valid()) return false;
        const bool moved = (offered(0) && ready(0)) || (offered(1) && ready(1));
        r.done0 = has0 && !has1;
        r.done1 = has1 && !has0;
        return moved;
    }
};

struct StreamAdd final : Block {
    REGISTERS(full = 0)
    explicit StreamAdd(const Parameters&) {}
    bool step() override {
        const bool room = !r.full || ready();
        const bool take = valid(0) && valid(1) && room;
        set_ready(valid(1) && room, 0);
        set_ready(valid(0) && room, 1);
        const bool moved = take || (r.full && ready());
        if (room) r.full = take;
        set_valid(r.full);
        return moved;
    }
};

struct StreamConcat final : Block {
    const int A_BEATS, B_BEATS;
    REGISTERS(second = 0, beat = 0)
    explicit StreamConcat(const Parameters& p) : A_BEATS(p("A_BEATS")), B_BEATS(p("B_BEATS")) {}
    bool passes() const override { return true; }
    void offer() override { set_valid(valid(r.second)); }
    bool step() override {
        set_ready(!r.second && ready(), 0);
        set_ready(r.second && ready(), 1);
        if (!valid(r.second) || !ready()) return false;
        const bool last = r.beat == (r.second ? B_BEATS : A_BEATS) - 1;
        r.beat = last ? 0 : r.beat + 1;
        if (last) r.second = !r.second;
        return true;
    }
    bool waits_for(std::size_t i) const override { return i == std::size_t(r.second); }
};
