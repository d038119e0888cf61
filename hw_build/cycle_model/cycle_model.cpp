// Runs the handshakes of an accelerator cycle by cycle, without data. Driven from Python.
//
// A model is described by lines, a block each, senders before receivers:
//     MODULE INPUT_STREAM[,..] OUTPUT_STREAM[,..] PARAMETER=INTEGER ...
// Streams are numbers from 0. The host offers beats on the one and takes all of the other of the
// two streams that have one end only.

#include <cstring>
#include <functional>
#include <sstream>
#include <unordered_map>

#include "image_modules.h"
#include "stream_modules.h"

namespace {

template <typename T>
std::unique_ptr<Block> make(const Parameters& p) { return std::make_unique<T>(p); }

const std::map<std::string, std::unique_ptr<Block> (*)(const Parameters&)> MODULES = {
    {"lane_splitter", make<LaneSplitter>}, {"lane_joiner", make<LaneJoiner>},
    {"mvu", make<Mvu>},                    {"arg_max", make<ArgMax>},
    {"top_k", make<TopK>},                 {"deep_fifo", make<DeepFifo>},
    {"stream_fork", make<StreamFork>},     {"stream_add", make<StreamAdd>},
    {"stream_concat", make<StreamConcat>}, {"pad", make<Pad>},
    {"window", make<Window>},              {"upsample", make<Upsample>},
    {"max_pool", make<MaxPool>},           {"window_parallel", make<WindowParallel>},
};

std::vector<int> numbers(const std::string& text) {
    std::vector<int> found;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) found.push_back(std::stoi(part));
    return found;
}

std::vector<std::unique_ptr<Block>> parse(const char* text, int* n_streams) {
    std::vector<std::unique_ptr<Block>> blocks;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string module, in, out;
        words >> module >> in >> out;
        Parameters parameters;
        for (std::string word; words >> word;) {
            const auto equals = word.find('=');
            parameters.values[word.substr(0, equals)] = std::stoi(word.substr(equals + 1));
        }
        blocks.push_back(MODULES.at(module)(parameters));
        blocks.back()->in = numbers(in);
        blocks.back()->out = numbers(out);
        for (const auto* streams : {&blocks.back()->in, &blocks.back()->out})
            for (const int stream : *streams) *n_streams = std::max(*n_streams, stream + 1);
    }
    return blocks;
}

struct Random {  // xorshift64*, the same as in ../harness
    uint64_t state;
    uint32_t byte() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return static_cast<uint32_t>((state * 0x2545F4914F6CDD1DULL) >> 56);
    }
};

struct Model {
    std::vector<std::unique_ptr<Block>> blocks;
    Wires wires;
    BlockSet passing;

    Model(std::vector<std::unique_ptr<Block>> made, int n_streams)
        : blocks(std::move(made)), wires(n_streams, blocks.size()), passing(blocks.size()) {
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            blocks[i]->wires = &wires;
            for (const int stream : blocks[i]->in) wires.receiver[stream] = static_cast<int>(i);
            for (const int stream : blocks[i]->out) wires.sender[stream] = static_cast<int>(i);
            if (blocks[i]->passes()) passing.add(static_cast<int>(i));
            wires.awake.add(static_cast<int>(i));
        }
    }
    std::string registers() const {
        std::string all;
        for (const auto& block : blocks) {
            const Bytes bytes = block->registers();
            all.append(bytes.first, bytes.n);
        }
        return all;
    }
};

}  // namespace

enum Status : int32_t {
    DONE = 0,      // all frames have left
    PERIODIC = 1,  // the last `period` frames will be repeated for ever
    STUCK = 2,     // nothing will ever move again
    SLOW = 3,      // the host has not been able to keep its pace for several frames
};

extern "C" {

struct Job {
    uint64_t* frame_ends;       // the cycle in which each frame's last beat left
    uint64_t** recorded;        // per stream: where the cycles of its beats go; or null
    uint64_t** offered;         // per stream: where the cycles go in which they were first valid
    uint64_t* recorded_beats;   // per stream: how many have passed
    uint64_t* capacities;       // per stream: how many are kept
    uint64_t n_frames, input_beats, output_beats;  // beats of a frame
    uint64_t pace_cycles, pace_frames;  // the host's beats come evenly, so many frames in so many
                                        // cycles; 0: each as soon as it can be taken
    uint64_t random_state;
    uint64_t cycle, frames_done, period;  // results
    int32_t input, output;             // streams
    uint32_t stall_input, stall_output;  // of 256: how often that end holds back
    uint32_t stop_if_periodic;
};

Model* model_open(const char* text) {
    int n_streams = 0;
    auto blocks = parse(text, &n_streams);
    return new Model(std::move(blocks), n_streams);
}

void model_close(Model* model) { delete model; }

// Bit 0: valid, bit 1: ready, bit 2: its receiver stands still for want of it.
int32_t model_stream_state(Model* m, int32_t stream) {
    const int receiver = m->wires.receiver[stream];
    bool wanted = false;
    if (receiver != NOBODY) {
        const Block& block = *m->blocks[receiver];
        for (std::size_t i = 0; i < block.in.size(); ++i)
            if (block.in[i] == stream) wanted = block.waits_for(i);
    }
    return m->wires.valid[stream] | m->wires.ready[stream] << 1 | wanted << 2;
}

int64_t model_most_held(Model* m, int32_t block) { return m->blocks[block]->most_held(); }

}  // extern "C"

namespace {

constexpr uint64_t SLOW_FRAMES = 4;

// For each state at the end of a frame: after which frame it was seen first.
using Seen = std::unordered_map<std::string, uint64_t>;

// True if the state at the end of this frame is that at the end of an earlier one. A host with a
// pace is part of the state as long as it holds back; when it lags behind, it is no longer felt.
bool repeats(Job& job, std::string state, uint64_t input_done, uint64_t held_back, Seen& seen) {
    const bool paced = job.pace_frames != 0;
    const uint64_t last_end = job.frames_done > 1 ? job.frame_ends[job.frames_done - 2] : 0;
    const bool felt = paced && held_back >= last_end;
    const uint64_t host[] = {
        felt ? input_done - job.frames_done * job.input_beats : input_done % job.input_beats,
        felt ? job.cycle * job.pace_frames % job.pace_cycles : 0,
        felt ? 0 : held_back + 1,  // without a pause since then
    };
    state.append(reinterpret_cast<const char*>(host), sizeof host);
    const auto [place, is_new] = seen.emplace(std::move(state), job.frames_done);
    if (!is_new) job.period = job.frames_done - place->second;
    return !is_new;
}

// True if each of the last frames took longer than the pace, by more than its unevenness. What
// keeps the pace does so only until its first frames have been made up for.
bool is_slow(const Job& job) {
    if (job.frames_done <= SLOW_FRAMES) return false;
    const uint64_t uneven = job.pace_frames - 1;
    for (uint64_t i = job.frames_done - SLOW_FRAMES; i < job.frames_done; ++i) {
        const uint64_t cycles = job.frame_ends[i] - job.frame_ends[i - 1];
        if (cycles * job.pace_frames <= job.pace_cycles + uneven) return false;
    }
    return true;
}

}  // namespace

extern "C" {

int32_t model_run(Model* m, Job* job) {
    Wires& wires = m->wires;
    Random random{job->random_state};
    const bool stalls = job->stall_input != 0 || job->stall_output != 0;
    const uint64_t n_input = job->n_frames * job->input_beats;
    uint64_t input_done = 0, output_beat = 0;
    uint64_t held_back = 0;  // the last cycle in which the host waited to keep its pace
    bool offered = false;
    Seen seen;
    const std::size_t n_streams = job->recorded ? wires.valid.size() : 0;
    std::vector<uint8_t> waiting(n_streams);  // the beat that is valid has been noted
    const auto record = [&, job](int stream) {
        waiting[stream] = false;
        const uint64_t beat = job->recorded_beats[stream]++;
        if (beat < job->capacities[stream]) job->recorded[stream][beat] = job->cycle;
    };
    const auto note_offers = [&, job] {
        for (std::size_t stream = 0; stream < n_streams; ++stream) {
            if (!wires.valid[stream] || waiting[stream]) continue;
            waiting[stream] = true;
            const uint64_t beat = job->recorded_beats[stream];
            if (beat < job->capacities[stream]) job->offered[stream][beat] = job->cycle;
        }
    };
    const uint64_t pace_beats = job->pace_frames * job->input_beats;
    for (;; ++job->cycle) {
        bool wanted = true;
        if (stalls) {
            if (!offered) offered = random.byte() >= job->stall_input;
            wanted = random.byte() >= job->stall_output;
        } else if (pace_beats) {
            const uint64_t due = input_done * job->pace_cycles / pace_beats;
            if (due > job->cycle) {
                held_back = job->cycle;
                if (wires.awake.empty()) job->cycle = due;  // until then nothing moves
            }
            offered = due <= job->cycle;
        } else {
            offered = true;
        }
        wires.set_valid(job->input, offered && input_done < n_input);
        wires.set_ready(job->output, wanted);
        if (!stalls && wires.awake.empty()) return STUCK;

        wires.awake.ascending(m->passing, [&](int i) { m->blocks[i]->offer(); });
        note_offers();
        bool leaves = wires.moves(job->output);
        wires.awake.descending([&](int i) {
            Block& block = *m->blocks[i];
            if (job->recorded)
                for (const int stream : block.out)
                    if (wires.moves(stream)) record(stream);
            if (!block.step()) wires.awake.remove(i);
        });
        if (wires.moves(job->input)) {
            if (job->recorded) record(job->input);
            ++input_done;
            offered = false;
        }
        if (!leaves || ++output_beat < job->output_beats) continue;
        output_beat = 0;
        job->frame_ends[job->frames_done++] = job->cycle;
        if (job->frames_done == job->n_frames) return DONE;
        if (job->stop_if_periodic && repeats(*job, m->registers(), input_done, held_back, seen))
            return PERIODIC;
        if (pace_beats && is_slow(*job)) return SLOW;
    }
}

}  // extern "C"
