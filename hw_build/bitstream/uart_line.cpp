// A host's end of a UART, around a Verilator model of `uart_accelerator` or of its netlist.
// Compiled together with the model. Times are in 1/256 of a cycle: the host has a clock of its own.

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <unistd.h>

#include "Vuart_accelerator.h"
#include "verilated.h"

namespace {

constexpr int BREAK = 256;         // in the queue of bytes to send
constexpr uint64_t BREAK_BITS = 20;

struct Sender {
    std::deque<int> queue;
    int bits = 0, left = 0;        // of the frame under way, the lowest bit first
    uint64_t until = 0;            // the end of the bit under way
};

struct Receiver {
    std::deque<uint8_t> bytes;
    int bits = 0, place = -1;      // in the frame: -1 none, 0 the start bit
    uint64_t sample = 0;
};

struct Line {
    VerilatedContext context;
    Vuart_accelerator top{&context};
    uint64_t bit, gaps, random = 0x9E3779B97F4A7C15ULL, cycle = 0, torn = 0;
    Sender sender;
    Receiver receiver;

    uint64_t up_to(uint64_t most) {  // xorshift64*
        random ^= random >> 12, random ^= random << 25, random ^= random >> 27;
        return most ? (random * 0x2545F4914F6CDD1DULL >> 33) % (most + 1) : 0;
    }

    void send(uint64_t now) {
        while (now >= sender.until) {
            if (sender.left > 0) {
                top.rx = sender.bits & 1;
                sender.bits >>= 1, --sender.left;
                sender.until += bit;
            } else if (sender.queue.empty()) {
                top.rx = 1;
                sender.until = now + 1;
            } else {
                const int byte = sender.queue.front();
                sender.queue.pop_front();
                top.rx = 1;
                sender.until = now + 1 + up_to(gaps);
                if (byte == BREAK) {  // behind it, the line is high for a while
                    top.rx = 0;
                    sender.bits = 0xFFF, sender.left = 12;
                    sender.until = now + BREAK_BITS * bit;
                } else {
                    sender.bits = (0x100 | byte) << 1, sender.left = 10;
                }
            }
        }
    }

    void receive(uint64_t now) {
        if (receiver.place < 0) {
            if (!top.tx) receiver.place = 0, receiver.bits = 0, receiver.sample = now + bit / 2;
        } else if (now >= receiver.sample) {
            if (receiver.place == 0) torn += top.tx;
            else if (receiver.place <= 8) receiver.bits |= top.tx << (receiver.place - 1);
            else torn += !top.tx, receiver.bytes.push_back(static_cast<uint8_t>(receiver.bits));
            receiver.place = receiver.place == 9 ? -1 : receiver.place + 1;
            receiver.sample += bit;
        }
    }
};

void step(Line& l) {
    l.send(l.cycle << 8);
    l.top.clk = 1, l.top.eval();
    l.top.clk = 0, l.top.eval();
    l.receive(l.cycle << 8);
    ++l.cycle;
}

bool sends(const Line& l) { return !l.sender.queue.empty() || l.sender.left > 0; }

}  // namespace

extern "C" {

// Memory files, if the model has any, are read from `folder`; the line's bit and the longest pause
// between two bytes are in 1/256 of a cycle.
Line* line_open(const char* folder, uint64_t bit, uint64_t gaps) {
    char* const home = getcwd(nullptr, 0);
    if (home == nullptr || chdir(folder) != 0) return nullptr;
    auto* line = new Line;
    line->bit = bit, line->gaps = gaps;
    line->top.clk = 0, line->top.rx = 1;
    line->top.eval();
    const int returned = chdir(home);
    free(home);
    if (returned != 0) return nullptr;
    return line;
}

void line_close(Line* line) {
    line->top.final();
    delete line;
}

void line_send(Line* line, const uint8_t* bytes, uint64_t n) {
    line->sender.queue.insert(line->sender.queue.end(), bytes, bytes + n);
}

// Sends what is left, then a break, and forgets what came: the reset may have torn it.
void line_break(Line* line) {
    line->sender.queue.push_back(BREAK);
    while (sends(*line)) step(*line);
    line->receiver = Receiver{};
    line->torn = 0;
}

// Runs until `n` bytes have come or `patience` cycles have passed since the last byte in either
// direction; returns how many are in `bytes`.
uint64_t line_receive(Line* line, uint8_t* bytes, uint64_t n, uint64_t patience) {
    Line& l = *line;
    uint64_t last = l.cycle;
    while (l.receiver.bytes.size() < n && l.cycle - last < patience) {
        const auto before = l.receiver.bytes.size();
        step(l);
        if (sends(l) || l.receiver.bytes.size() != before) last = l.cycle;
    }
    uint64_t done = 0;
    for (; done < n && !l.receiver.bytes.empty(); ++done) {
        bytes[done] = l.receiver.bytes.front();
        l.receiver.bytes.pop_front();
    }
    return done;
}

// Frames whose start or stop bit was not one.
uint64_t line_torn(Line* line) { return line->torn; }

uint64_t line_cycles(Line* line) { return line->cycle; }
}
