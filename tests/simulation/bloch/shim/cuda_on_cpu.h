// Runs CUDA kernels on a CPU, to test them without a GPU: the threads of a block are fibers of one process,
// so that barriers and shuffles wait for each other as on a device. A barrier that not all threads reach ends
// the launch with an error. Only what our kernels use is here. Linux with glibc.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Blocks run one after the other, so what a block shares may be static.
#define __shared__ static

using std::exp;
using std::expm1;
using std::floor;
using std::log;
using std::sqrt;

namespace shim {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 1 << 16;

struct Index {
    unsigned x;
};

struct Barrier {
    unsigned count = 0, generation = 0;
};

struct Fiber {
    ucontext_t start;
    jmp_buf saved;
    std::vector<char> stack;
    bool started = false, done = false;
};

struct Warp {
    Barrier barrier;
    double slots[2][WARP];
};

inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline Barrier block_barrier;
inline std::function<void()> body;
inline jmp_buf home;
inline unsigned current, alive, idle, block, blocks;

// Go to the next thread that has not ended; does not return.
[[noreturn]] inline void next() {
    do current = (current + 1) % fibers.size();
    while (fibers[current].done);
    Fiber& fiber = fibers[current];
    if (fiber.started) _longjmp(fiber.saved, 1);
    fiber.started = true;
    setcontext(&fiber.start);
    __builtin_trap();
}

inline void enter() {
    body();
    fibers[current].done = true;
    idle = 0;
    if (--alive == 0) _longjmp(home, 1);
    next();
}

__attribute__((noinline)) inline void yield() {
    if (++idle > 4 * fibers.size()) _longjmp(home, 2);  // everybody waits
    if (_setjmp(fibers[current].saved) == 0) next();
}

inline void wait(Barrier& barrier, unsigned threads) {
    const unsigned generation = barrier.generation;
    if (++barrier.count == threads) {
        barrier.count = 0;
        ++barrier.generation;
        idle = 0;
        return;
    }
    while (barrier.generation == generation) yield();
}

// Run one block; false if its threads wait for each other forever.
inline bool run_block(unsigned threads) {
    fibers.resize(threads);
    warps.assign(threads / WARP, Warp());
    block_barrier = Barrier();
    for (Fiber& fiber : fibers) {
        fiber.stack.resize(STACK);
        fiber.started = fiber.done = false;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = STACK;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, enter, 0);
    }
    alive = threads;
    idle = 0;
    current = threads - 1;
    const int how = _setjmp(home);
    if (how == 0) next();
    return how == 1;
}

inline bool launch(const std::function<void()>& kernel, unsigned grid, unsigned threads) {
    body = kernel;
    blocks = grid;
    for (block = 0; block < grid; ++block)
        if (!run_block(threads)) return false;
    return true;
}

}  // namespace shim

#define threadIdx (shim::Index{shim::current})
#define blockIdx (shim::Index{shim::block})
#define gridDim (shim::Index{shim::blocks})

template <class T>
inline T __ldg(const T* p) {
    return *p;
}

inline void __syncthreads() { shim::wait(shim::block_barrier, shim::fibers.size()); }

template <class T>
inline T __shfl_xor_sync(unsigned, T value, int mask) {
    shim::Warp& warp = shim::warps[shim::current / shim::WARP];
    const unsigned lane = shim::current % shim::WARP, turn = warp.barrier.generation % 2;
    // Two sets of slots: a lane may be one exchange ahead of the others, never two.
    std::memcpy(&warp.slots[turn][lane], &value, sizeof value);
    shim::wait(warp.barrier, shim::WARP);
    std::memcpy(&value, &warp.slots[turn][lane ^ mask], sizeof value);
    return value;
}

// pi u is rounded in the next wider type, as the device functions do not round it at all.
inline void sincospif(float u, float* s, float* c) {
    *s = std::sin(M_PI * u);
    *c = std::cos(M_PI * u);
}

inline void sincospi(double u, double* s, double* c) {
    *s = std::sin(M_PIl * u);
    *c = std::cos(M_PIl * u);
}
