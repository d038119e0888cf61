// The handshakes of the modules of ../rtl that know images.
#pragma once

#include "block.h"

// Words that a memory of the RTL holds: it comes in pieces.
inline int memory_depth(int needed, bool block_memory) {
    const int piece = block_memory ? 512 : needed <= 32 ? 32 : 64;
    return (needed + piece - 1) / piece * piece;
}

struct Pad final : Block {
    const int HEIGHT, PIXELS, ROW, ROWS, FIRST_BEAT, FIRST_ROW;
    REGISTERS(beat = 0, row = 0)
    explicit Pad(const Parameters& p)
        : HEIGHT(p("HEIGHT")), PIXELS(p("WIDTH") * p("CHANNEL_BEATS")),
          ROW((p("LEFT") + p("WIDTH") + p("RIGHT")) * p("CHANNEL_BEATS")),
          ROWS(p("TOP") + HEIGHT + p("BOTTOM")),
          FIRST_BEAT(p("LEFT") == 0 ? 0 : ROW - p("LEFT") * p("CHANNEL_BEATS")),
          FIRST_ROW(p("TOP") == 0 ? 0 : ROWS - p("TOP")) {
        r.beat = FIRST_BEAT;
        r.row = FIRST_ROW;
    }
    bool on_image() const { return r.row < HEIGHT && r.beat < PIXELS; }
    bool passes() const override { return true; }
    bool leading() const {  // before the image's first beat
        const bool above = FIRST_ROW > 0 && r.row >= FIRST_ROW;
        return above || (FIRST_BEAT > 0 && r.row == 0 && r.beat >= FIRST_BEAT);
    }
    void offer() override { set_valid(valid() || !(on_image() || leading())); }
    bool step() override {
        set_ready(on_image() && ready());
        if (!offered() || !ready()) return false;
        const bool end_of_row = r.beat == (FIRST_BEAT == 0 ? ROW : FIRST_BEAT) - 1;
        count(r.beat, ROW);
        if (end_of_row) count(r.row, ROWS);
        return true;
    }
};

struct Window final : Block {
    int F, OUT_H, OUT_W, LAST, RIGHT, DOWN, NEXT_FRAME, N0, N1, N2, STEP0, STEP1, STEP2;
    REGISTERS(loop0 = 0, loop1 = 0, loop2 = 0, x = 0, y = 0, ahead = -1, room = 0, full = 0)
    explicit Window(const Parameters& p) {
        const int height = p("HEIGHT"), width = p("WIDTH");
        const int kernel_h = p("KERNEL_H"), kernel_w = p("KERNEL_W");
        const int stride_h = p("STRIDE_H"), stride_w = p("STRIDE_W");
        const int dilation_h = p("DILATION_H"), dilation_w = p("DILATION_W");
        const bool outer = p("CHANNEL_OUTER") != 0;
        F = p("CHANNEL_BEATS");
        OUT_H = (height - (kernel_h - 1) * dilation_h - 1) / stride_h + 1;
        OUT_W = (width - (kernel_w - 1) * dilation_w - 1) / stride_w + 1;
        LAST = ((kernel_h - 1) * dilation_h * width + (kernel_w - 1) * dilation_w) * F + F - 1;
        RIGHT = stride_w * F;
        DOWN = (stride_h * width - (OUT_W - 1) * stride_w) * F;
        const int rows_left = height - (OUT_H - 1) * stride_h;
        NEXT_FRAME = (rows_left * width - (OUT_W - 1) * stride_w) * F;
        const int column = dilation_w * F, row = dilation_h * width * F;
        N0 = outer ? kernel_w : F;
        N1 = outer ? kernel_h : kernel_w;
        N2 = outer ? F : kernel_h;
        STEP0 = outer ? column : 1;
        STEP1 = (outer ? row : column) - (N0 - 1) * STEP0;
        STEP2 = (outer ? 1 - (kernel_h - 1) * row : row - (kernel_w - 1) * column)
                - (N0 - 1) * STEP0;
        const int positions = kernel_h * kernel_w, row_reads = OUT_W * positions;
        const int ahead_rows = p("FRAME_AHEAD", 1) ? std::max(stride_h, rows_left) : stride_h;
        const int ahead = row_reads < stride_h * width ? row_reads : ahead_rows * width;
        const int jump = std::max(std::min(RIGHT, positions * F),
                                  (ahead - (OUT_W - 1) * stride_w) * F);
        const int spare = outer ? F - 1 + positions - 1 : F * positions - 1;
        const int needed = std::max(LAST + 1, LAST + 1 + jump - spare);
        r.room = memory_depth(needed, p("BLOCK_MEMORY") != 0) - 1;
    }
    bool step() override {
        const bool write = valid() && r.room >= 0;
        const bool leaves = r.full && ready();
        const bool read = r.ahead >= 0 && (!r.full || ready());
        set_ready(r.room >= 0);
        if (read) {
            int moved = STEP0, freed = 0;
            if (++r.loop0 == N0) {
                r.loop0 = 0, moved = STEP1;
                if (++r.loop1 == N1) {
                    r.loop1 = 0, moved = STEP2;
                    if (++r.loop2 == N2) {
                        r.loop2 = 0, freed = RIGHT;
                        if (++r.x == OUT_W) {
                            r.x = 0, freed = DOWN;
                            if (++r.y == OUT_H) r.y = 0, freed = NEXT_FRAME;
                        }
                        moved = freed - LAST;
                    }
                }
            }
            r.ahead -= moved;
            r.room += freed;
        }
        r.ahead += write;
        r.room -= write;
        r.full = read || (r.full && !ready());
        set_valid(r.full);
        return write || read || leaves;
    }
};

struct WindowParallel final : Block {
    const int HEIGHT, WIDTH, REACH_H, REACH_W, STRIDE_H, STRIDE_W;
    REGISTERS(column = 0, row = 0, full = 0)
    explicit WindowParallel(const Parameters& p)
        : HEIGHT(p("HEIGHT")), WIDTH(p("WIDTH")),
          REACH_H((p("KERNEL_H") - 1) * p("DILATION_H")),
          REACH_W((p("KERNEL_W") - 1) * p("DILATION_W")), STRIDE_H(p("STRIDE_H")),
          STRIDE_W(p("STRIDE_W")) {}
    static bool ends(int at, int reach, int stride) {
        return at >= reach && (at - reach) % stride == 0;
    }
    bool step() override {
        const bool room = !r.full || ready();
        const bool fire = valid() && room;
        const bool moved = fire || (r.full && ready());
        const bool window = ends(r.row, REACH_H, STRIDE_H) && ends(r.column, REACH_W, STRIDE_W);
        set_ready(room);
        if (room) r.full = fire && window;
        if (fire) {
            count(r.column, WIDTH);
            if (r.column == 0) count(r.row, HEIGHT);
        }
        set_valid(r.full);
        return moved;
    }
};

struct Upsample final : Block {
    const int WIDTH, F, FACTOR_H, FACTOR_W, KEPT;
    REGISTERS(beat = 0, repeat_x = 0, column = 0, repeat_y = 0, ahead = -1, room = 0, full = 0)
    explicit Upsample(const Parameters& p)
        : WIDTH(p("WIDTH")), F(p("CHANNEL_BEATS")), FACTOR_H(p("FACTOR_H")),
          FACTOR_W(p("FACTOR_W")), KEPT(FACTOR_H > 1 ? WIDTH * F : F) {
        r.room = memory_depth(std::max(KEPT, 2), p("BLOCK_MEMORY") != 0) - 1;
    }
    bool step() override {
        const bool write = valid() && r.room >= 0;
        const bool leaves = r.full && ready();
        const bool read = r.ahead >= 0 && (!r.full || ready());
        set_ready(r.room >= 0);
        if (read) {
            const bool last_x = r.repeat_x == FACTOR_W - 1, last_y = r.repeat_y == FACTOR_H - 1;
            const bool end_of_pixel = r.beat == F - 1, end_of_column = end_of_pixel && last_x;
            const bool end_of_row = end_of_column && r.column == WIDTH - 1;
            r.ahead -= end_of_row && !last_y ? 1 - KEPT : end_of_pixel && !last_x ? 1 - F : 1;
            r.room += last_x && last_y;
            count(r.beat, F);
            if (end_of_pixel) count(r.repeat_x, FACTOR_W);
            if (end_of_column) count(r.column, WIDTH);
            if (end_of_row) count(r.repeat_y, FACTOR_H);
        }
        r.ahead += write;
        r.room -= write;
        r.full = read || (r.full && !ready());
        set_valid(r.full);
        return write || read || leaves;
    }
};

struct MaxPool final : Block {
    const int N_POSITIONS;
    REGISTERS(position = 0, full = 0)
    explicit MaxPool(const Parameters& p) : N_POSITIONS(p("N_POSITIONS")) {}
    bool step() override {
        const bool room = !r.full || ready();
        const bool fire = valid() && room;
        const bool moved = fire || (r.full && ready());
        const bool last = r.position == N_POSITIONS - 1;
        set_ready(room);
        if (fire) count(r.position, N_POSITIONS);
        if (room) r.full = fire && last;
        set_valid(r.full);
        return moved;
    }
};
