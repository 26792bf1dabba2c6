// The kernels on a CPU as a shared library. SOURCE: file with the kernels.
#include "cuda_on_cpu.h"

#include SOURCE

// Threads that never meet: the shim must notice.
static void stuck(const Tables&) {
    if (threadIdx.x != 5) __syncthreads();
}

// Run a kernel by its name: 0 well, 1 threads wait for each other forever, 2 no such kernel.
extern "C" int shim_launch(const char* name, unsigned grid, unsigned threads, const Tables* tables) {
    void (*kernel)(const Tables&) = nullptr;
    if (!std::strcmp(name, "play")) kernel = [](const Tables& t) { play(t); };
    if (!std::strcmp(name, "add_blocks")) kernel = [](const Tables& t) { add_blocks(t); };
    if (!std::strcmp(name, "stuck")) kernel = stuck;
    if (kernel == nullptr) return 2;
    return shim::launch([&] { kernel(*tables); }, grid, threads) ? 0 : 1;
}

extern "C" size_t shim_tables_size() { return sizeof(Tables); }
