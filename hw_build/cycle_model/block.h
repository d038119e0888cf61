// What the models of all modules have in common: wires, parameters, two functions a cycle. A block
// is evaluated in every cycle in which something can move: first `offer`, senders before
// receivers, then `step`, receivers before senders. That is enough because valid never depends on
// ready.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// Integer parameters of an instance by their names in the RTL.
class Parameters {
  public:
    std::map<std::string, int> values;
    int operator()(const char* name) const {
        const auto found = values.find(name);
        if (found == values.end()) throw std::runtime_error(std::string("no parameter ") + name);
        return found->second;
    }
    int operator()(const char* name, int otherwise) const {
        const auto found = values.find(name);
        return found == values.end() ? otherwise : found->second;
    }
};

// Set of blocks by number. Numbers may be added while a sweep over them is under way.
class BlockSet {
  public:
    explicit BlockSet(std::size_t n) : words((n + 63) / 64) {}
    void add(int i) { words[i >> 6] |= uint64_t(1) << (i & 63); }
    void remove(int i) { words[i >> 6] &= ~(uint64_t(1) << (i & 63)); }
    bool empty() const {
        for (const uint64_t word : words)
            if (word) return false;
        return true;
    }
    template <typename F>
    void ascending(const BlockSet& among, F visit) const {
        for (std::size_t w = 0; w < words.size(); ++w)
            for (uint64_t left = ~uint64_t(0), found; (found = words[w] & among.words[w] & left);) {
                const int bit = __builtin_ctzll(found);
                left = bit == 63 ? 0 : ~uint64_t(0) << (bit + 1);
                visit(static_cast<int>(w * 64 + bit));
            }
    }
    template <typename F>
    void descending(F visit) const {
        for (std::size_t w = words.size(); w-- > 0;)
            for (uint64_t left = ~uint64_t(0), found; (found = words[w] & left);) {
                const int bit = 63 - __builtin_clzll(found);
                left = (uint64_t(1) << bit) - 1;
                visit(static_cast<int>(w * 64 + bit));
            }
    }

  private:
    std::vector<uint64_t> words;
};

constexpr int NOBODY = -1;  // the other end of the accelerator's ports

// The wires between blocks. A change wakes the block that has to see it.
struct Wires {
    std::vector<uint8_t> valid, ready;
    std::vector<int> sender, receiver;  // blocks, or NOBODY
    BlockSet awake;

    Wires(std::size_t n_streams, std::size_t n_blocks)
        : valid(n_streams), ready(n_streams), sender(n_streams, NOBODY),
          receiver(n_streams, NOBODY), awake(n_blocks) {}
    void set_valid(int stream, bool value) {
        if (valid[stream] == value) return;
        valid[stream] = value;
        if (receiver[stream] != NOBODY) awake.add(receiver[stream]);
    }
    void set_ready(int stream, bool value) {
        if (ready[stream] == value) return;
        ready[stream] = value;
        if (sender[stream] != NOBODY) awake.add(sender[stream]);
    }
    bool moves(int stream) const { return valid[stream] && ready[stream]; }
};

struct Bytes {
    const char* first;
    std::size_t n;
};

class Block {
  public:
    Wires* wires = nullptr;
    std::vector<int> in, out;  // streams
    virtual ~Block() = default;
    // True if an output's valid depends on an input's, so that `offer` has to be called.
    virtual bool passes() const { return false; }
    // The outputs' valid, where it is no register.
    virtual void offer() {}
    // The inputs' ready, then the clock's edge. False if nothing moved and no register changed.
    virtual bool step() = 0;
    // What an instance remembers.
    virtual Bytes registers() const = 0;
    // Of a block that stands still and offers nothing: whether it waits for this input.
    virtual bool waits_for(std::size_t) const { return true; }
    // Beats held at most, of a FIFO.
    virtual int64_t most_held() const { return 0; }

  protected:
    bool valid(int i = 0) const { return wires->valid[in[i]]; }
    bool ready(int i = 0) const { return wires->ready[out[i]]; }
    bool offered(int i = 0) const { return wires->valid[out[i]]; }
    void set_valid(bool value, int i = 0) { wires->set_valid(out[i], value); }
    void set_ready(bool value, int i = 0) { wires->set_ready(in[i], value); }
    template <typename T>
    static Bytes bytes_of(const T& r) {
        return {reinterpret_cast<const char*>(&r), sizeof r};
    }
};
#define REGISTERS(...)                                                  \
    struct {                                                            \
        int32_t __VA_ARGS__;                                            \
    } r;                                                                \
    Bytes registers() const override { return bytes_of(r); }

// Counts up to `n`, then from 0 again.
inline void count(int32_t& counter, int n) { counter = counter == n - 1 ? 0 : counter + 1; }
