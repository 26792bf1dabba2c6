// The exact Bloch engine on a GPU, part 3 of 3: readouts and kernels.
//
// A thread keeps its spins in registers and plays all operations of a window. For a readout the threads of a
// warp take CHUNK samples at a time into registers, a butterfly of exchanges leaves lane l with the warp's
// sum of sample l, and the warps of a block meet in shared memory. Every block adds to a partial signal of
// its own, in double, and a second kernel sums the blocks in order: the result is the same in every run.

// Factor from sample to sample of a step, kept in the spin, and on a ramp the factor of that factor (less 1).
INLINE void set_factor(const Tables& t, i64 step, bool fresh, bool curved, i64 i, Spin& spin, Wave& w) {
    REAL c, s;
    if (fresh) {
        turn_by(wrap(phase(t, t.rate + step * t.fields, t.fields, i)), c, s);
        const REAL time = REAL(get(t.dwell, step)), path = REAL(get(t.growth, step));
        const REAL e = decay(time * get(t.r2, i) + path * get(t.adc, i));
        spin.c = c * e;
        spin.s = -s * e;
    }
    w.c = spin.c;
    w.s = spin.s;
    if (curved) {
        // cos - 1 and -sin of twice half the angle keep the digits of a small turn.
        turn_by(wrap(phase(t, t.curve + step * t.fields, t.fields, i)) / 2, c, s);
        w.f = -2 * s * s;
        w.g = -2 * s * c;
    }
}

// Signal at the first sample, from exact phases.
INLINE void anchor(const Tables& t, i64 op, i64 i, const Spin& spin, Wave& w) {
    REAL c, s;
    turn_by(wrap(phase(t, t.dphi + op * t.fields, t.fields, i)), c, s);
    const REAL e = decay(REAL(get(t.time, op)) * get(t.r2, i) + REAL(get(t.path, op)) * get(t.adc, i));
    w.a = (spin.x * c + spin.y * s) * e;
    w.b = (spin.y * c - spin.x * s) * e;
}

// The next CHUNK samples, summed over the thread's spins.
template <bool CURVED>
INLINE void take(Wave (&w)[SPINS], REAL (&re)[CHUNK], REAL (&im)[CHUNK]) {
#pragma unroll
    for (int j = 0; j < CHUNK; ++j) {
        EACH(k) {
            const REAL a = w[k].a, b = w[k].b, c = w[k].c, s = w[k].s;
            re[j] = k ? re[j] + a : a;
            im[j] = k ? im[j] + b : b;
            w[k].a = a * c - b * s;
            w[k].b = a * s + b * c;
            if (CURVED) {
                w[k].c = c + (c * w[k].f - s * w[k].g);
                w[k].s = s + (c * w[k].g + s * w[k].f);
            }
        }
    }
}

// One step of the butterfly: the lower and the upper lanes trade W values and add what they keep.
template <int W>
INLINE void trade(REAL (&v)[CHUNK], int lane) {
    const bool upper = lane & W;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        const REAL keep = upper ? v[i + W] : v[i], give = upper ? v[i] : v[i + W];
        v[i] = keep + __shfl_xor_sync(0xffffffffu, give, W);
    }
    if constexpr (W > 1) trade<W / 2>(v, lane);
}

// Sum of value l over the warp, in lane l (modulo CHUNK).
INLINE REAL fold(REAL (&v)[CHUNK]) {
    trade<CHUNK / 2>(v, threadIdx.x % 32);
#pragma unroll
    for (int w = CHUNK; w < 32; w *= 2) v[0] += __shfl_xor_sync(0xffffffffu, v[0], w);
    return v[0];
}

// Add a chunk of all threads to the block's signal. Two stages take turns, so one barrier is enough.
INLINE void collect(REAL (&re)[CHUNK], REAL (&im)[CHUNK], i64 left, int& number, Complex* out) {
    __shared__ Pair stage[2][WARPS][CHUNK];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Pair(&here)[WARPS][CHUNK] = stage[number % 2];
    const Pair mine = {fold(re), fold(im)};
    if (lane < CHUNK) here[warp][lane] = mine;
    __syncthreads();
    if (warp == number % WARPS && lane < CHUNK && lane < left) {
        Pair sum = here[0][lane];
#pragma unroll
        for (int n = 1; n < WARPS; ++n) {
            sum.re += here[n][lane].re;
            sum.im += here[n][lane].im;
        }
        Complex all = out[lane];
        all.re += sum.re;
        all.im += sum.im;
        out[lane] = all;
    }
    ++number;
}

// All samples of a readout for all coils: a coil's weight goes onto the first sample.
template <bool CURVED>
INLINE void listen(const Tables& t, i64 op, i64 lo, const Wave (&first)[SPINS], int& number, Complex* part) {
    const i64 samples = get(t.samples, op), start = get(t.first, op);
    for (i64 coil = 0; coil < t.coils; ++coil) {
        Wave w[SPINS];
        EACH(k) {
            w[k] = first[k];
            if (t.coil) {
                const REAL* weight = t.coil + 2 * coil * t.spins + lo + k * THREADS;
                const REAL re = get(weight, 0), im = get(weight, t.spins);
                w[k].a = first[k].a * re - first[k].b * im;
                w[k].b = first[k].a * im + first[k].b * re;
            }
        }
        for (i64 done = 0; done < samples; done += CHUNK) {
            REAL re[CHUNK], im[CHUNK];
            take<CURVED>(w, re, im);
            collect(re, im, samples - done, number, part + coil * t.total + start + done);
        }
    }
}

INLINE void readout(
    const Tables& t, i64 op, i64 lo, Spin (&spin)[SPINS], i64& known, int& number, Complex* part
) {
    const i64 step = get(t.link, op);
    const bool curved = get(t.curved, step), fresh = step != known || t.shift;
    Wave w[SPINS];
    EACH(k) {
        set_factor(t, step, fresh, curved, lo + k * THREADS, spin[k], w[k]);
        anchor(t, op, lo + k * THREADS, spin[k], w[k]);
    }
    known = step;
    if (curved)
        listen<true>(t, op, lo, w, number, part);
    else
        listen<false>(t, op, lo, w, number, part);
}

// Play a window. Blocks take groups of THREADS * SPINS spins in turn; all threads of a block see the same
// operations, so its barriers are met by all.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) play(const Tables t) {
    const i64 group = THREADS * SPINS;
    Complex* part = t.part + i64(blockIdx.x) * t.coils * t.total;
    int number = 0;
    for (i64 base = blockIdx.x * group; base < t.spins; base += gridDim.x * group) {
        const i64 lo = base + threadIdx.x;
        Spin spin[SPINS];
        i64 known = -1;
        EACH(k) {
            const i64 i = lo + k * THREADS;
            spin[k] = {t.m[i], t.m[t.spins + i], t.m[2 * t.spins + i], t.mb ? t.mb[i] : REAL(0), 0, 0};
        }
        for (i64 op = 0; op < t.ops; ++op) {
            const int kind = get(t.kind, op);
            if (kind == FREE) {
                EACH(k) free_precession(t, op, lo + k * THREADS, spin[k]);
            } else if (kind == PULSE) {
                play_pulse(t, op, lo, spin);
            } else {
                readout(t, op, lo, spin, known, number, part);
            }
        }
        EACH(k) {
            const i64 i = lo + k * THREADS;
            t.m[i] = spin[k].x;
            t.m[t.spins + i] = spin[k].y;
            t.m[2 * t.spins + i] = spin[k].z;
            if (t.mb) t.mb[i] = spin[k].zb;
        }
    }
}

// Sum the partial signals of all blocks in order.
extern "C" __global__ void __launch_bounds__(THREADS) add_blocks(const Tables t) {
    const i64 values = t.coils * t.total, at = i64(blockIdx.x) * THREADS + threadIdx.x;
    if (at >= values) return;
    Complex sum = {0.0, 0.0};
    for (i64 block = 0; block < t.blocks; ++block) {
        const Complex one = t.part[block * values + at];
        sum.re += one.re;
        sum.im += one.im;
    }
    t.signal[at] = sum;
}
