// The exact Bloch engine on a GPU, part 1 of 3: tables, arithmetic and phases.
//
// REAL (float or double) is the type of the magnetization; phases are formed and reduced in double. SPINS is
// the number of spins of a thread, CHUNK how many samples a warp sums at a time, BLOCKS how many blocks share
// a multiprocessor. The parts are joined in the order bloch_tables.cuh, bloch_spin.cuh, bloch.cu (see
// gpu_device.py). Only what NVRTC offers is used: no headers.

#ifndef REAL
#define REAL float
#endif
#ifndef SPINS
#define SPINS 1
#endif
#ifndef CHUNK
#define CHUNK 32
#endif
#ifndef BLOCKS
#define BLOCKS 4
#endif
#define THREADS 128
#define WARPS (THREADS / 32)
#define EACH(k) _Pragma("unroll") for (int k = 0; k < SPINS; ++k)
#define INLINE __device__ __forceinline__

typedef long long i64;
typedef unsigned long long u64;

enum { FREE, PULSE, READ };

struct alignas(16) Complex {
    double re, im;
};

// All arguments, eight bytes each, in the order of gpu_device.py; `spins` counts with padding.
struct Tables {
    const signed char* kind;
    const double* time;
    const double* dphi;
    const i64* link;
    const i64* first;
    const i64* samples;
    const REAL* turn;
    const i64* shim;
    const double* path;
    const double* walk;
    const double* rate;
    const double* curve;
    const double* dwell;
    const double* growth;
    const unsigned char* curved;
    const i64* pulse;
    const i64* run;
    const double* dt;
    const REAL* b1;
    const double* gain;
    const unsigned char* same;
    const i64* line;
    const double* psi;
    const REAL* r1;
    const REAL* r2;
    const REAL* m0;
    const REAL* adc;
    const REAL* transmit;
    const REAL* coil;
    const REAL* bound;
    const u64* key;
    REAL* m;
    REAL* mb;
    double* shift;
    Complex* part;
    Complex* signal;
    i64 ops;
    i64 fields;
    i64 pulse_fields;
    i64 spins;
    i64 coils;
    i64 total;
    i64 played;
    i64 blocks;
};

// Magnetization, bound pool, and the factor from sample to sample of the last straight readout.
struct Spin {
    REAL x, y, z, zb, c, s;
};

// Transmit field turned by the RF phase, angle of a step about z, and what is lost by relaxation in half a
// step (h) and in a step (g): complements, because 1 - 1e-6 has lost most of its digits in float.
struct Drive {
    REAL px, py, w, h1, h2, g1, g2;
};

// Two pools over a fixed time: the 2 x 2 exponential minus the unit matrix, and both equilibria.
struct Exchange {
    REAL zz, zb, bz, bb, m0, b0;
};

// Signal of a spin, its factor from sample to sample, and the factor of that factor less 1.
struct Wave {
    REAL a, b, c, s, f, g;
};

struct Pair {
    REAL re, im;
};

template <class T>
INLINE T get(const T* p, i64 i) {
    return __ldg(p + i);
}

// Cosine and sine of 2 pi u.
INLINE void turn_by(float u, float& c, float& s) { sincospif(2.0f * u, &s, &c); }
INLINE void turn_by(double u, double& c, double& s) { sincospi(2.0 * u, &s, &c); }
INLINE float decay(float u) { return expf(-u); }
INLINE double decay(double u) { return exp(-u); }
INLINE float lost(float u) { return -expm1f(-u); }
INLINE double lost(double u) { return -expm1(-u); }

// sin(w)/w and (1 - cos w)/w^2 as functions of q = w^2 <= 1.
INLINE void rotation_series(float q, float& s, float& c) {
    s = 1.0f + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040 + q * (1.0f / 362880))));
    c = 0.5f + q * (-1.0f / 24 + q * (1.0f / 720 + q * (-1.0f / 40320 + q * (1.0f / 3628800))));
}

INLINE void rotation_series(double q, double& s, double& c) {
    const double a[9] = {1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                         1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000};
    const double b[9] = {0.5, -1.0 / 24, 1.0 / 720, -1.0 / 40320, 1.0 / 3628800, -1.0 / 479001600,
                         1.0 / 87178291200, -1.0 / 20922789888000, 1.0 / 6402373705728000};
    s = a[8];
    c = b[8];
#pragma unroll
    for (int n = 7; n >= 0; --n) {
        s = a[n] + q * s;
        c = b[n] + q * c;
    }
}

// Phase of spin i [cycles]: the sum over encoding fields of a row of time integrals and the spatial factors.
INLINE double phase(const Tables& t, const double* row, i64 fields, i64 i) {
    double sum = 0.0;
#pragma unroll
    for (int d = 0; d < 4; ++d) {
        double at = get(t.psi, d * t.spins + i);
        if (d < 3 && t.shift) at += t.shift[d * t.spins + i];
        sum += get(row, d) * at;
    }
    for (i64 d = 4; d < fields; ++d) {
        const double a = get(row, d);
        if (a != 0.0) sum += a * get(t.psi, d * t.spins + i);
    }
    return sum;
}

// Reduce to [-1/2, 1/2] in double, then round.
INLINE REAL wrap(double p) { return REAL(p - floor(p + 0.5)); }

// Finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
INLINE u64 mix(u64 v) {
    v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9ull;
    v = (v ^ (v >> 27)) * 0x94D049BB133111EBull;
    return v ^ (v >> 31);
}

// Two standard normal numbers from the counters 2 n + 1 and 2 n + 2 after `base` (Box and Muller).
INLINE void normals(u64 base, u64 n, double& a, double& b) {
    const u64 step = 0x9E3779B97F4A7C15ull;
    const double u = double(mix(base + (2 * n + 1) * step) >> 11) * 0x1p-53;
    const double v = double(mix(base + (2 * n + 2) * step) >> 11) * 0x1p-53;
    const double r = sqrt(-2.0 * log(1.0 - u));
    sincospi(2.0 * v, &b, &a);
    a *= r;
    b *= r;
}

// Random walk over one free precession: exact joint Gaussian of end point and phase (see `diffuse`).
INLINE double diffuse(const Tables& t, i64 op, i64 i) {
    const double* walk = t.walk + 5 * op;
    const double duration = get(walk, 0), adc = double(get(t.adc, i));
    if (duration <= 0.0 || adc <= 0.0) return 0.0;
    const u64 base = mix(get(t.key, i) + u64(t.played + op) * 0x9E3779B97F4A7C15ull);
    double n[4], along = 0.0;
    normals(base, 0, n[0], n[1]);
    normals(base, 1, n[2], n[3]);
    const double spread = sqrt(2.0 * adc * duration);
#pragma unroll
    for (int d = 0; d < 3; ++d) {
        t.shift[d * t.spins + i] += spread * n[d];
        along += get(walk, 1 + d) * spread * n[d];
    }
    return along / duration + sqrt(2.0 * adc * get(walk, 4)) * n[3];
}
